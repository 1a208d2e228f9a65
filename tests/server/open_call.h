#ifndef LOSSD_TESTS_SERVER_OPEN_CALL_H_
#define LOSSD_TESTS_SERVER_OPEN_CALL_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "tests/server/harness.h"

namespace lossd::testing {

// One call of any method on a connection of its own, step by step: its messages are sent when the
// test says so, and the answer is not read until Finish.
class OpenCall {
 public:
  OpenCall(const Server& server, const std::string& method,
           std::optional<absl::Time> deadline = std::nullopt);

  void Send(const google::protobuf::Message& message, bool last = false);
  void HalfClose();

  // Waits until the answer begins, or the call ends.
  bool AwaitAnswer();

  // Reads to the end.
  grpc::Status Finish();

  void Cancel() { context_.TryCancel(); }
  const grpc::ClientContext& context() const { return context_; }

 private:
  bool Await();

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SERVER_OPEN_CALL_H_
