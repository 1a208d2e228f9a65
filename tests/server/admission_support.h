#ifndef LOSSD_TESTS_SERVER_ADMISSION_SUPPORT_H_
#define LOSSD_TESTS_SERVER_ADMISSION_SUPPORT_H_

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>

#include "server/server.h"
#include "tests/server/harness.h"

// Parts of the tests of admission, as callers of a running server meet it.
namespace lossd::testing {

inline constexpr int64_t kMiB = 1 << 20;
inline constexpr char kCompute[] = "/lossd.v1.LossService/Compute";

inline std::string Trailer(const grpc::ClientContext& context, const char* name) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find(name);
  return found == trailers.end() ? "" : std::string(found->second.data(), found->second.size());
}

inline void ExpectAllGivenBack(const Server& server) {
  WaitUntil([&] {
    return server.live_calls() == 0 && server.loaned_output_bytes() == 0 &&
           server.admission().granted_bytes == 0 && server.admission().calls == 0 &&
           server.admission().queued == 0;
  });
}

// A stream that has sent its header and side tensors, so what it may hold is granted.
struct OpenStream {
  OpenStream(v1::LossService::Stub& stub, const Problem& problem)
      : stream(stub.ComputeStream(&context)) {
    BeginStream(problem, *stream);
  }

  grpc::ClientContext context;
  std::unique_ptr<ComputeStreamer> stream;
};

inline ServerOptions WithBudget(int64_t bytes) {
  ServerOptions options = AnyPort();
  options.memory_budget = bytes;
  return options;
}

// Patience of 50 ms, and no time for the bytes themselves.
inline ServerOptions Impatient() {
  ServerOptions options = AnyPort();
  options.times.bytes_per_second = int64_t{1} << 50;
  return options;
}

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SERVER_ADMISSION_SUPPORT_H_
