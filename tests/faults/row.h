#ifndef LOSSD_TESTS_FAULTS_ROW_H_
#define LOSSD_TESTS_FAULTS_ROW_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "lossd/v1/loss.grpc.pb.h"
#include "tests/faults/sentinel.h"
#include "tests/support/process.h"

namespace lossd {

// One row of docs/fault-matrix.md: a server of its own, and a sentinel that watches it from Serve()
// to the end of the test.
class Row : public ::testing::Test {
 protected:
  // `more` addresses: beside address(), which is the one of the victim.
  void Serve(std::vector<std::string> flags = {}, const std::vector<std::string>& more = {}) {
    flags.emplace_back("--log-level=error");
    std::vector<std::string> listen = {"127.0.0.1:0"};
    listen.insert(listen.end(), more.begin(), more.end());
    server_ = std::make_unique<ServerProcess>(listen, flags);
    sentinel_ = std::make_unique<Sentinel>(*server_);
  }

  void TearDown() override {
    if (sentinel_ != nullptr) sentinel_->Check();
    sentinel_.reset();
    server_.reset();
  }

  const std::string& address() const { return server_->address(); }
  pid_t pid() const { return server_->process().pid(); }
  ServerProcess& server() { return *server_; }
  Sentinel& sentinel() { return *sentinel_; }

  std::unique_ptr<v1::LossService::Stub> Stub() const {
    return v1::LossService::NewStub(testing::Connect(address()));
  }

 private:
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Sentinel> sentinel_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_FAULTS_ROW_H_
