#include "server/front/health_service.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>

#include <atomic>

#include "server/calls/event.h"

namespace lossd {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

namespace {

constexpr char kLossService[] = "lossd.v1.LossService";

HealthCheckResponse Response(HealthCheckResponse::ServingStatus status) {
  HealthCheckResponse response;
  response.set_status(status);
  return response;
}

}  // namespace

// One Check, from waiting for it to its end. Owns itself.
class HealthCheck {
 public:
  static void Accept(HealthService* health, grpc::ServerCompletionQueue* queue) {
    auto* const check = new HealthCheck(health, queue);
    health->service_.RequestCheck(&check->context_, &check->request_, &check->responder_, queue,
                                  queue, check->request_event_.Tag());
  }

 private:
  HealthCheck(HealthService* health, grpc::ServerCompletionQueue* queue)
      : health_(health), queue_(queue) {}

  void OnRequest(bool ok) {
    if (!ok) return delete this;  // the server is shutting down
    Accept(health_, queue_);
    const auto status = health_->StatusOf(request_.service());
    if (status == HealthCheckResponse::SERVICE_UNKNOWN) {
      responder_.FinishWithError({grpc::StatusCode::NOT_FOUND, "unknown service"},
                                 finish_event_.Tag());
    } else {
      responder_.Finish(Response(status), grpc::Status::OK, finish_event_.Tag());
    }
  }
  void OnFinish(bool ok) { delete this; }

  HealthService* const health_;
  grpc::ServerCompletionQueue* const queue_;
  grpc::ServerContext context_;
  HealthCheckRequest request_;
  grpc::ServerAsyncResponseWriter<HealthCheckResponse> responder_{&context_};
  MemberEvent<HealthCheck> request_event_{this, &HealthCheck::OnRequest};
  MemberEvent<HealthCheck> finish_event_{this, &HealthCheck::OnFinish};
};

// One Watch, likewise: it ends when its caller hangs up or the server stops. Each outstanding event
// holds a reference.
class HealthWatch {
 public:
  static void Accept(HealthService* health, grpc::ServerCompletionQueue* queue) {
    auto* const watch = new HealthWatch(health, queue);
    health->service_.RequestWatch(&watch->context_, &watch->request_, &watch->writer_, queue, queue,
                                  watch->request_event_.Tag());
  }

  // Sends the status if it is not the one sent last.
  void Tell() {
    const std::lock_guard lock(mutex_);
    if (writing_ || over_) return;
    const auto status = health_->StatusOf(request_.service());
    if (status == told_) return;
    told_ = status;
    writing_ = true;
    Hold();
    writer_.Write(Response(status), write_event_.Tag());
  }

 private:
  HealthWatch(HealthService* health, grpc::ServerCompletionQueue* queue)
      : health_(health), queue_(queue) {
    context_.AsyncNotifyWhenDone(done_event_.Tag());
  }

  void OnRequest(bool ok) {
    if (!ok) return delete this;  // the server is shutting down; no other event comes
    Accept(health_, queue_);
    Hold();  // OnDone may run on another thread
    if (health_->Join(this)) {
      Tell();
    } else {
      const std::lock_guard lock(mutex_);
      over_ = true;
      Hold();
      writer_.Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many watch the health already"},
                     finish_event_.Tag());
    }
    Drop();
  }
  void OnWrite(bool ok) {
    {
      const std::lock_guard lock(mutex_);
      writing_ = false;
      if (!ok) over_ = true;
    }
    Tell();
    Drop();
  }
  void OnFinish(bool ok) { Drop(); }
  void OnDone(bool ok) {
    health_->Leave(this);
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    Drop();
  }

  void Hold() { references_.fetch_add(1, std::memory_order_relaxed); }
  void Drop() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  HealthService* const health_;
  grpc::ServerCompletionQueue* const queue_;
  grpc::ServerContext context_;
  HealthCheckRequest request_;
  grpc::ServerAsyncWriter<HealthCheckResponse> writer_{&context_};
  std::atomic<int> references_{1};  // of OnDone
  std::mutex mutex_;
  HealthCheckResponse::ServingStatus told_ = HealthCheckResponse::UNKNOWN;
  bool writing_ = false;
  bool over_ = false;
  MemberEvent<HealthWatch> request_event_{this, &HealthWatch::OnRequest};
  MemberEvent<HealthWatch> write_event_{this, &HealthWatch::OnWrite};
  MemberEvent<HealthWatch> finish_event_{this, &HealthWatch::OnFinish};
  MemberEvent<HealthWatch> done_event_{this, &HealthWatch::OnDone};
};

void HealthService::Serve(grpc::ServerCompletionQueue* queue) {
  HealthCheck::Accept(this, queue);
  HealthWatch::Accept(this, queue);
}

void HealthService::SetServing(bool serving) {
  const std::lock_guard lock(mutex_);
  serving_ = serving;
  for (HealthWatch* const watch : watches_) watch->Tell();
}

HealthService::Status HealthService::StatusOf(const std::string& service) const {
  if (!service.empty() && service != kLossService) return HealthCheckResponse::SERVICE_UNKNOWN;
  return serving_ ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

bool HealthService::Join(HealthWatch* watch) {
  const std::lock_guard lock(mutex_);
  if (watches_.size() >= kMaxWatches) return false;
  watches_.insert(watch);
  return true;
}

void HealthService::Leave(HealthWatch* watch) {
  const std::lock_guard lock(mutex_);
  watches_.erase(watch);
}

}  // namespace lossd
