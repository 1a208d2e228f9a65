#ifndef LOSSD_TESTS_SERVER_HARNESS_H_
#define LOSSD_TESTS_SERVER_HARNESS_H_

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/exec/loss_run.h"
#include "lossd/v1/loss.grpc.pb.h"
#include "server/server.h"

// Parts of the tests of a running server. The client is what grpc_cpp_plugin makes of the .proto:
// it shares no code with the server.
namespace lossd::testing {

// On a free loopback port.
ServerOptions AnyPort();
std::unique_ptr<Server> StartServer(const ServerOptions& options = AnyPort());

// A connection of its own, without limits on sizes.
std::shared_ptr<grpc::Channel> Connect(const std::string& address);
inline std::unique_ptr<v1::LossService::Stub> StubFor(const Server& server) {
  return v1::LossService::NewStub(Connect(server.addresses().front()));
}

// Until `condition` holds; the time limit of the test is the only one.
void WaitUntil(const std::function<bool()>& condition);

// Softmax loss of seeded f32 predictions [rows, classes] with i64 labels and f32 position weights,
// and what the core answers in this process.
struct Problem {
  Problem(int64_t rows, int64_t classes);

  LossInputs Inputs() const;                 // for a client; they refer to this
  v1::ComputeRequest Request() const;        // with all bytes
  v1::ComputeStreamRequest Header() const;   // without
  v1::ComputeStreamRequest Weights() const;  // side data, whole
  v1::ComputeStreamRequest Labels() const;   // side data, whole
  v1::ComputeStreamRequest Block(int64_t row, int64_t count) const;

  int64_t rows;
  int64_t classes;
  std::vector<float> predictions;
  std::vector<int64_t> labels;
  std::vector<float> weights;
  std::vector<float> gradient;
  LossResult result;
};

using ComputeStreamer =
    grpc::ClientReaderWriter<v1::ComputeStreamRequest, v1::ComputeStreamResponse>;

// Sends all of a problem but the rows from 1 on, and reads the answer to row 0.
void BeginStream(const Problem& problem, ComputeStreamer& stream);

// Reads to the end of the call: gradients go to their rows. Returns the status; `summaries` counts
// how often a summary came, `last` is the last one.
struct StreamAnswer {
  std::vector<float> gradient;
  int64_t blocks = 0;
  int summaries = 0;
  v1::LossResult last;
  grpc::Status status;
};
StreamAnswer ReadAll(const Problem& problem, ComputeStreamer& stream);

// One call of any method with any bytes, by hand: sends `request` and half-closes.
class RawCall {
 public:
  RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
          const std::string& request);

  // Waits for the next message; nullopt: there is none.
  std::optional<std::string> Read();

  // After the last message.
  grpc::Status Finish();

  void Cancel() { context_.TryCancel(); }

 private:
  bool Await();

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

// Messages of grpc.health.v1 by hand: string service = 1; enum status = 1 (1: SERVING, 2: not).
std::string HealthRequest(const std::string& service);
inline constexpr char kServing[] = "\x08\x01";
inline constexpr char kNotServing[] = "\x08\x02";

// The status of a raw call.
grpc::Status StatusOf(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                      const std::string& request);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SERVER_HARNESS_H_
