#include "server/control/control_service.h"

#include "server/control/control_call.h"

namespace lossd {
namespace {

// Calls that are waited for at once, as for the methods of LossService.
constexpr int kAcceptDepth = 8;

}  // namespace

void ControlService::Serve(grpc::ServerCompletionQueue* queue) {
  queue_ = queue;
  for (int i = 0; i < kAcceptDepth; ++i) Accept();
}

void ControlService::Accept() {
  if (!ControlCall::Accept(*this)) ++put_off_;
}

void ControlService::AcceptPutOff() {
  if (put_off_.load(std::memory_order_relaxed) == 0) return;
  for (int n = put_off_.exchange(0); n > 0; --n) Accept();
}

}  // namespace lossd
