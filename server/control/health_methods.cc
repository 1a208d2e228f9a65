#include "server/control/health_methods.h"

#include <string>
#include <utility>

#include "grpc/health/v1/health.pb.h"
#include "lossd/status_macros.h"
#include "server/control/proto_bytes.h"

namespace lossd {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

HealthCheckResponse::ServingStatus StatusOf(std::optional<bool> serving) {
  if (!serving) return HealthCheckResponse::SERVICE_UNKNOWN;
  return *serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

grpc::ByteBuffer Response(HealthCheckResponse::ServingStatus status) {
  HealthCheckResponse response;
  response.set_status(status);
  return ProtoBytes(response);
}

class HealthCheck final : public ControlMethod {
 public:
  explicit HealthCheck(const HealthState& health) : health_(health) {}

  absl::Status OnMessage(const grpc::ByteBuffer& message) override {
    LOSSD_ASSIGN_OR_RETURN(const auto request, ParseProto<HealthCheckRequest>(message));
    serving_ = health_.IsServing(request.service());
    if (!serving_) return absl::NotFoundError("unknown service");
    return absl::OkStatus();
  }
  absl::StatusOr<std::optional<grpc::ByteBuffer>> NextAnswer() override {
    return Response(StatusOf(serving_));
  }

 private:
  const HealthState& health_;
  std::optional<bool> serving_;
};

class HealthWatch final : public ControlMethod {
 public:
  HealthWatch(HealthState& health, std::function<void()> changed)
      : health_(health), changed_(std::move(changed)) {}

  absl::Status OnMessage(const grpc::ByteBuffer& message) override {
    LOSSD_ASSIGN_OR_RETURN(const auto request, ParseProto<HealthCheckRequest>(message));
    service_ = request.service();
    subscription_ = health_.Subscribe(changed_);
    if (subscription_ == nullptr) {
      return absl::ResourceExhaustedError("too many watch the health already");
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::optional<grpc::ByteBuffer>> NextAnswer() override {
    const auto status = StatusOf(health_.IsServing(service_));
    if (status == sent_) return std::nullopt;
    sent_ = status;
    return Response(status);
  }

 private:
  HealthState& health_;
  const std::function<void()> changed_;
  std::string service_;  // set before the subscription exists, and read only after
  std::unique_ptr<HealthState::Subscription> subscription_;
  std::optional<HealthCheckResponse::ServingStatus> sent_;
};

}  // namespace

std::unique_ptr<ControlMethod> MakeHealthCheck(HealthState& health, std::function<void()> changed) {
  return std::make_unique<HealthCheck>(health);
}

std::unique_ptr<ControlMethod> MakeHealthWatch(HealthState& health, std::function<void()> changed) {
  return std::make_unique<HealthWatch>(health, std::move(changed));
}

}  // namespace lossd
