include(CTest)
include(GNUInstallDirs)

option(LOSSD_BUILD_EXAMPLES "Build the MPI trainer in examples/" ON)
option(LOSSD_PYTHON "Build the Python package and nothing else" OFF)
option(LOSSD_FUZZ "Link the fuzzers of tests/fuzz with libFuzzer; needs Clang" OFF)
set(LOSSD_SANITIZE "" CACHE STRING "Sanitizers to build with, e.g. address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(LOSSD_CCACHE ccache)
if(LOSSD_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # It keeps nothing that was compiled with a precompiled header, unless it is allowed to overlook
  # macros and __TIME__ in that header.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    env CCACHE_SLOPPINESS=pch_defines,time_macros ${LOSSD_CCACHE})
endif()

add_compile_options(
  -Wall -Wextra -Wpedantic -Wno-unused-parameter
  # Results are promised to the bit: the compiler may not fuse a*b+c on one target and not another.
  -ffp-contract=off
  -fno-math-errno)

# Sources that read a command line with CLI11 and do nothing else: optimised, each takes 15 s to compile.
function(lossd_runs_once)
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS $<$<CONFIG:Release>:-O1>)
endfunction()

if(LOSSD_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

if(LOSSD_SANITIZE)
  add_compile_options(-fsanitize=${LOSSD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${LOSSD_SANITIZE})
else()
  # What the build does against mistakes that a caller could use, checked in what is built by
  # tests/structure/hardening_test.py (docs/security.md); core/kernels does without the
  # initialisation of variables, which would cost there and has nothing to protect.
  add_compile_options(
    -D_GLIBCXX_ASSERTIONS -fstack-protector-strong -fstack-clash-protection ${LOSSD_BRANCH_PROTECTION}
    -ftrivial-auto-var-init=pattern $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=3>)
  include(CheckPIESupported)
  check_pie_supported()
  add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)
endif()
