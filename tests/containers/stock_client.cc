#include "tests/containers/stock_client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

// For servers that the client balances; a proxy would give it the health of one of them.
constexpr char kHealth[] = R"(
  "healthCheckConfig": {"serviceName": "lossd.v1.LossService"},)";

constexpr char kCalls[] = R"(
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{"service": "lossd.v1.LossService", "method": "Compute"}],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.02s", "maxBackoff": "2s",
                    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}
  }])";

constexpr std::chrono::seconds kDeadline(60);

void Fill(v1::Tensor* to, const TensorView& from, v1::DType dtype) {
  to->set_dtype(dtype);
  for (const int64_t extent : from.desc.shape) to->add_shape(extent);
  to->set_data(from.bytes.data(), from.bytes.size());
}

std::shared_ptr<grpc::Channel> Connect(const std::string& target) {
  grpc::ChannelArguments arguments;
  const bool balances = absl::StartsWith(target, "ipv4:");
  arguments.SetServiceConfigJSON(absl::StrCat("{", balances ? kHealth : "", kCalls, "}"));
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

StockClient::StockClient(const std::string& target)
    : stub_(v1::LossService::NewStub(Connect(target))) {}

absl::Status StockClient::Compute(const LossInputs& inputs, std::string& gradient,
                                  double& loss) const {
  v1::ComputeRequest request;
  request.mutable_spec()->mutable_softmax();
  Fill(request.mutable_predictions(), inputs.predictions, v1::DTYPE_F32);
  Fill(request.mutable_class_indices(), inputs.targets, v1::DTYPE_I64);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  v1::ComputeResponse response;
  const grpc::Status status = stub_->Compute(&context, request, &response);
  if (!status.ok()) {
    return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
  }
  loss = response.result().loss();
  gradient = std::move(*response.mutable_gradient()->mutable_data());
  return absl::OkStatus();
}

}  // namespace lossd
