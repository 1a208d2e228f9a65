#ifndef LOSSD_TESTS_BENCH_ECHO_CLIENT_H_
#define LOSSD_TESTS_BENCH_ECHO_CLIENT_H_

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>

#include <memory>
#include <string>
#include <vector>

#include "lossd/tensor.h"
#include "tests/support/process.h"

namespace lossd::bench {

// lossd_bench_echo in a process of its own.
class EchoProcess {
 public:
  EchoProcess();

  const std::string& address() const { return address_; }
  int64_t pid() const { return process_.pid(); }

 private:
  Process process_;
  std::string address_;
};

// Calls of the echo over one connection, on the calling thread. Messages point into the caller's
// memory, and what comes back is copied into the caller's memory, as lossd's client does both.
class EchoClient {
 public:
  explicit EchoClient(const std::string& address);

  // One message each way. Precondition: to.size() == from.size().
  void Unary(ByteSpan from, MutableByteSpan to);

  // `from` in messages of `chunk` bytes, both directions at once.
  void Stream(ByteSpan from, MutableByteSpan to, size_t chunk);

  // One way: `from` in messages of `chunk` bytes, then one empty message back.
  void Sink(ByteSpan from, size_t chunk);

  // `total` unary calls, `in_flight` of them at any time.
  void Flood(ByteSpan from, MutableByteSpan to, int in_flight, int total);

 private:
  void Bidirectional(const std::string& method, ByteSpan from, MutableByteSpan to, size_t chunk);

  std::unique_ptr<grpc::GenericStub> stub_;
  grpc::CompletionQueue queue_;
};

// The chunk with which the echo of `size` bytes is fastest.
size_t BestChunk(EchoClient& client, size_t size);

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_ECHO_CLIENT_H_
