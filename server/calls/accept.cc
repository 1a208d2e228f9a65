#include "server/calls/accept.h"

#include "server/calls/methods.h"
#include "server/calls/stream_call.h"
#include "server/calls/unary_call.h"

namespace lossd {
namespace {

bool TryAccept(const Environment& environment, Method method) {
  switch (method) {
    case Method::kCompute:
      return UnaryCall::Accept(environment, kUnaryCompute);
    case Method::kComputeStream:
      return StreamCall::Accept(environment);
    case Method::kGetServerInfo:
      return UnaryCall::Accept(environment, kUnaryServerInfo);
    case Method::kHealthCheck:
    case Method::kHealthWatch:
    case Method::kReflection:
    case Method::kUnknown:  // these are ControlService's
      break;
  }
  return true;
}

}  // namespace

void Accept(const Environment& environment, Method method) {
  if (!TryAccept(environment, method)) ++(*environment.put_off)[static_cast<size_t>(method)];
}

void AcceptPutOff(const Environment& environment) {
  for (size_t method = 0; method < environment.put_off->size(); ++method) {
    std::atomic<int>& put_off = (*environment.put_off)[method];
    if (put_off.load(std::memory_order_relaxed) == 0) continue;
    for (int n = put_off.exchange(0); n > 0; --n) Accept(environment, static_cast<Method>(method));
  }
}

}  // namespace lossd
