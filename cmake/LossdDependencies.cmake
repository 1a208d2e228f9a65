# The one list of what lossd is built from. All of it is packaged in Debian 12 (package names:
# scripts/packages); versions there: gRPC 1.51.1, Protobuf 3.21.12, Abseil 20220623, oneTBB 2021.8,
# Highway 1.0.3, GoogleTest 1.12.1.
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)                  # the wire contract
find_package(gRPC CONFIG REQUIRED)               # transport
find_package(OpenSSL REQUIRED)                   # certificates and tokens are checked; gRPC uses it too
find_package(absl CONFIG REQUIRED)               # status, strings, spans, time
find_package(TBB CONFIG REQUIRED)                # threads that compute
find_package(hwy CONFIG REQUIRED)                # SIMD with run-time dispatch
if(LOSSD_PYTHON)
  return()
endif()
find_package(spdlog CONFIG REQUIRED)             # the log of lossd
find_package(prometheus-cpp CONFIG REQUIRED)     # metrics: their model and text form
find_package(CLI11 CONFIG REQUIRED)              # command lines of lossd and lossctl
find_package(nlohmann_json CONFIG REQUIRED)      # lossctl --json
find_package(PkgConfig REQUIRED)
pkg_check_modules(microhttpd REQUIRED IMPORTED_TARGET libmicrohttpd)  # the port they are read from
pkg_check_modules(seccomp REQUIRED IMPORTED_TARGET libseccomp)  # system calls lossd does without
pkg_check_modules(httplib REQUIRED IMPORTED_TARGET cpp-httplib)  # lossctl bench reads them there
if(LOSSD_BUILD_EXAMPLES)
  find_package(MPI REQUIRED COMPONENTS CXX)      # the demo's trainers talk among themselves
  find_package(ZLIB REQUIRED)                    # the demo's data file is compressed
endif()
if(BUILD_TESTING)
  find_package(GTest CONFIG REQUIRED)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)  # tests of the tree itself
endif()
