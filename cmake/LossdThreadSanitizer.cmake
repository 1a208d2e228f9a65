# Under the thread sanitizer: the libraries that scripts/tsan-libraries has built take the place of
# Debian's when a program starts, and every program is linked with what tests/tsan says.
if(NOT LOSSD_SANITIZE MATCHES thread)
  return()
endif()
set(LOSSD_TSAN_LIBRARIES ${PROJECT_SOURCE_DIR}/build/tsan-libraries
  CACHE PATH "What scripts/tsan-libraries has built")
if(NOT EXISTS ${LOSSD_TSAN_LIBRARIES}/versions)
  message(FATAL_ERROR "no libraries in ${LOSSD_TSAN_LIBRARIES}; build them: scripts/tsan-libraries")
endif()
set(CMAKE_BUILD_RPATH ${LOSSD_TSAN_LIBRARIES})
add_link_options(-Wl,--disable-new-dtags)  # the path counts for libraries of libraries, too

add_library(lossd_tsan OBJECT tests/tsan/defaults.cc tests/tsan/grpc_order.cc)
link_libraries($<BUILD_INTERFACE:$<TARGET_OBJECTS:lossd_tsan>>)
