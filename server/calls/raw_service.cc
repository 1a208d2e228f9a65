#include "server/calls/raw_service.h"

#include <grpcpp/impl/rpc_method.h>
#include <grpcpp/impl/rpc_service_method.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lossd/v1/loss.grpc.pb.h"

namespace lossd {
namespace {

// In the order of Method; gRPC keeps pointers to them.
const std::vector<std::string>& Paths() {
  static const auto& paths = *[] {
    auto* const made = new std::vector<std::string>;
    for (size_t i = 0; i < kLossMethods; ++i) {
      const std::string_view name = kMethodNames[i];
      made->push_back(absl::StrCat("/", v1::LossService::service_full_name(), "/",
                                   absl::string_view(name.data(), name.size())));
    }
    return made;
  }();
  return paths;
}

}  // namespace

RawLossService::RawLossService() {
  // Protobuf describes the messages of a file when that is first asked for, and crashes at the next
  // call where memory ran out meanwhile: so it is asked for before there are calls.
  static_cast<void>(v1::ComputeRequest::descriptor());
  using grpc::internal::RpcMethod;
  for (size_t i = 0; i < kLossMethods; ++i) {
    const bool streams = static_cast<Method>(i) == Method::kComputeStream;
    AddMethod(new grpc::internal::RpcServiceMethod(
        Paths()[i].c_str(), streams ? RpcMethod::BIDI_STREAMING : RpcMethod::CLIENT_STREAMING,
        /*handler=*/nullptr));
    MarkMethodRaw(static_cast<int>(i));
  }
}

}  // namespace lossd
