// Empty: the target it belongs to holds the precompiled header of the tests (tests/CMakeLists.txt).
