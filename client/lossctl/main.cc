#include <cstdlib>
#include <exception>

#include "client/lossctl/app.h"
#include "client/lossctl/report.h"

int main(int argc, char** argv) {
  // A refused connection is reported once, by us; gRPC's own log only where it is asked for.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  try {
    return lossd::lossctl::Main(argc, argv);
  } catch (const std::exception& error) {  // out of memory
    return lossd::lossctl::BadUsage(error.what());
  }
}
