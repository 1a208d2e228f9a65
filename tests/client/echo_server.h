#ifndef LOSSD_TESTS_CLIENT_ECHO_SERVER_H_
#define LOSSD_TESTS_CLIENT_ECHO_SERVER_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace lossd {

// Answers every message with itself, then ends with `end`. Fails with `at_once` before the first;
// `silent`, does nothing until the call is cancelled.
class EchoService : public grpc::CallbackGenericService {
 public:
  grpc::Status end;
  std::optional<grpc::Status> at_once;
  bool silent = false;
  std::vector<std::pair<std::string, std::string>> trailers;
  std::set<std::string> peers() {
    const std::lock_guard lock(mutex_);
    return peers_;
  }
  int calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* call) override {
    {
      const std::lock_guard lock(mutex_);
      peers_.insert(call->peer());
      ++calls_;
    }
    for (const auto& [key, value] : trailers) call->AddTrailingMetadata(key, value);
    return new Reactor(*this);
  }

 private:
  class Reactor : public grpc::ServerGenericBidiReactor {
   public:
    explicit Reactor(const EchoService& service) : end_(service.end), silent_(service.silent) {
      if (service.at_once.has_value()) {
        Finish(*service.at_once);
      } else if (!service.silent) {
        StartRead(&buffer_);
      }
    }
    void OnReadDone(bool ok) override { ok ? StartWrite(&buffer_) : Finish(end_); }
    void OnWriteDone(bool ok) override {
      if (ok) StartRead(&buffer_);
    }
    void OnCancel() override {
      if (silent_) Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

   private:
    const grpc::Status end_;
    const bool silent_;
    grpc::ByteBuffer buffer_;
  };

  std::mutex mutex_;
  std::set<std::string> peers_;
  int calls_ = 0;
};

// On a free loopback port, with a health service.
class EchoServer {
 public:
  EchoServer() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(-1);
    builder.RegisterCallbackGenericService(&service_);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    server_ = builder.BuildAndStart();
    SetServing(true);
  }
  ~EchoServer() { server_->Shutdown(std::chrono::system_clock::now()); }

  EchoService& service() { return service_; }
  void SetServing(bool serving) {
    server_->GetHealthCheckService()->SetServingStatus("lossd.v1.LossService", serving);
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  EchoService service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_CLIENT_ECHO_SERVER_H_
