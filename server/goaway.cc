#include "server/goaway.h"

#include <grpcpp/alarm.h>
#include <grpcpp/version_info.h>

#include <chrono>
#include <future>

// Exported by gRPC's library, declared in a header of its source that is not installed
// (src/core/lib/surface/server.h). Another version of gRPC is to be looked at first.
static_assert(GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51);
namespace grpc_core {
class Server {
 public:
  void SendGoaways();
};
}  // namespace grpc_core

namespace lossd {

void SendGoaways(grpc::Server& server) {
  // The function needs what gRPC sets up for its own callbacks (an ExecCtx), so it runs in one.
  std::promise<void> sent;
  grpc::Alarm alarm;
  alarm.Set(std::chrono::system_clock::now(), [&](bool) {
    // grpc_server is the C name of grpc_core::Server.
    reinterpret_cast<grpc_core::Server*>(server.c_server())->SendGoaways();
    sent.set_value();
  });
  sent.get_future().wait();
}

}  // namespace lossd
