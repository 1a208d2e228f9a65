# What is installed, and find_package(lossd).
