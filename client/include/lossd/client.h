#ifndef LOSSD_CLIENT_H_
#define LOSSD_CLIENT_H_

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lossd/loss_result.h"
#include "lossd/loss_spec.h"
#include "lossd/server_info.h"
#include "lossd/tensor.h"

namespace lossd {

class Transport;

// Why the server turned the last attempt of a call away, in the one word of its trailer
// "loss-reason" ("TOO_LARGE", "QUEUE_FULL", ...: docs/operations.md); empty: it did not.
std::string LossReason(const absl::Status& error);

// How calls that failed UNAVAILABLE are replayed. Safe, because a loss is a pure function of its
// request; a stream sends again only the blocks that were not answered.
struct RetryPolicy {
  // >= 1, the first included. Where it is more than 1, attempts that an overloaded server put off
  // do not count: they go on until the deadline.
  int max_attempts = 4;
  absl::Duration initial_backoff = absl::Milliseconds(20);
  absl::Duration max_backoff = absl::Seconds(2);
  double multiplier = 2;  // each wait is drawn uniformly from [0.5, 1] * backoff
};

// How server and client prove their identity. The files are in PEM form and are read when the
// client is made.
struct TlsOptions {
  std::string ca_file = {};  // CAs of servers; empty: those this system trusts
  // For servers that ask for a certificate of clients: it, then those between it and its CA; and
  // its private key, not encrypted. Both or neither.
  std::string certificate_file = {};
  std::string key_file = {};
  // The name that the server's certificate must be for; empty: the host of the target, for a Unix
  // socket "localhost".
  std::string server_name = {};
};

enum class TransferMode : int8_t { kAuto, kUnary, kStream };

// Behaviour first, speed second.
struct ClientOptions {
  absl::Duration timeout = absl::Seconds(120);  // of a call, replays included
  RetryPolicy retry = {};
  std::optional<TlsOptions> tls = {};  // none: unencrypted
  // What calls bring where a server asks for a bearer token: the token, or a file that holds
  // nothing else (blank lines and lines that begin with # aside). The file is read at every call,
  // so a new token is used at once; while it cannot be used, the token read before stays in use.
  // Without TLS a token is sent to Unix sockets and loopback addresses only.
  std::string token = {};
  std::string token_file = {};
  // The server's --shared-memory, unix:/path: tensors that lie in a SharedBuffer are not copied
  // (lossd/shared_buffer.h). Empty: they are sent as all others.
  std::string shared_memory = {};
  int channels = 2;  // TCP connections to each server; calls go to the least busy one
  int64_t unary_limit_bytes = 1 << 20;  // kAuto: requests up to this size go in one message
  int64_t block_bytes = 2 << 20;        // aimed-at size of a stream's blocks; at least one position
};

struct CallOptions {
  absl::Duration timeout = absl::ZeroDuration();  // 0: that of ClientOptions
  TransferMode mode = TransferMode::kAuto;
  // More than 1: a stream is cut into that many at once, over parts of neighbouring positions of
  // equal size (fewer where there are fewer positions), which replicas share. The answer is the
  // bits of one call's, gradients land in the caller's buffer, in place if wanted, and a part whose
  // server is lost goes to another one. Class-index targets and weights go to each server whole,
  // for they decide the denominator. 1..256; calls of one message are not cut.
  int fan_out = 1;
  // Called from time to time, on any thread, with how many bytes of predictions were answered, of
  // how many. Must return quickly and may not call back into the client.
  std::function<void(int64_t done, int64_t total)> progress = {};
  // Whether to give the call up: asked when it starts and every 50 ms, on the thread that drives it
  // (of Compute, the caller's). Once it says yes, the call ends with kCancelled, soon and without
  // another attempt. Must return quickly and may not call back into the client.
  std::function<bool()> stop = {};
};

// A handle on a lossd service.
//
// Performance: connecting is lazy and cheap, the connections live as long as the last copy of the
// handle; make one Client and keep it. Tensors are not copied: requests are sent from, and
// gradients received into, the caller's memory.
//
// Thread safety: a Client is a copyable handle; all methods may be called from any thread at once.
//
// Lifetime of calls: destroying the last copy of the handle waits for the ComputeAsync calls under
// way, except in a completion that runs as one of them.
//
// Lifetime of buffers: Compute uses the memory behind `inputs` and `into` until it returns,
// ComputeAsync until its completion runs; afterwards nothing refers to it, also after an error or a
// passed deadline. into.gradient may be the very memory of inputs.predictions. After an error the
// contents of the `into` buffers (and so of predictions computed in place) are unspecified. In a
// SharedBuffer predictions that were computed in place, and that may be lost half way, are the end
// of a call: it is not replayed. A server that was stopped (SIGSTOP) may write to one afterwards.
//
// Replicas: a target may stand for several servers. Calls are spread over those that serve (by
// grpc.health.v1, watched while connected), and what one of them does not do another one does: a
// replayed call, the rest of a stream included, goes to the next server.
//
// Errors: the server's code and message, unchanged. kUnavailable: the service could not be reached
// within the retries; what a proxy made of a server that it lost counts as that. kDeadlineExceeded,
// kCancelled as usual. The client does not repeat the server's checks. LossReason returns why a
// server turned a call away.
//
// Example:
//   LOSSD_ASSIGN_OR_RETURN(lossd::Client client, lossd::Client::Connect("loss.example:50151"));
//   lossd::LossInputs in;
//   in.predictions = lossd::TensorView::Of<float>(logits, {batch, classes});
//   in.targets = lossd::TensorView::Of<int64_t>(labels, {batch});
//   LOSSD_ASSIGN_OR_RETURN(const lossd::LossResult answer,
//       client.Compute(lossd::LossSpec{}, in, {.gradient = lossd::BytesOf<float>(gradient)}));
class Client {
 public:
  // target, one server: host:port, unix:/path, or any gRPC name. Several servers: a list
  // host:port,host:port (the entries may also be gRPC names), dns:///name:port with all addresses
  // of the name, or ipv4:a:port,b:port. kInvalidArgument for a target with holes, options out of
  // range, files that cannot be used, and a token that would cross a network unencrypted; whether a
  // server listens shows with the first call.
  static absl::StatusOr<Client> Connect(const std::string& target,
                                        const ClientOptions& options = {});

  // For tests: a client on a transport of the caller's (client/testing/fake_transport.h).
  explicit Client(std::shared_ptr<Transport> transport, const ClientOptions& options = {});

  // Computes loss and wanted outputs, and waits. Empty buffers in `into` mean "not wanted":
  // spec.outputs is taken from `into` and need not be set. kInvalidArgument if a buffer's size is
  // not that of its output.
  absl::StatusOr<LossResult> Compute(const LossSpec& spec, const LossInputs& inputs,
                                     const LossOutputs& into, const CallOptions& call = {});

  // The same without waiting. `done` runs once, on a thread of the client's; it should return
  // quickly. The spec and the descriptions are copied, the bytes are not.
  void ComputeAsync(const LossSpec& spec, const LossInputs& inputs, const LossOutputs& into,
                    const CallOptions& call, std::function<void(absl::StatusOr<LossResult>)> done);
  std::future<absl::StatusOr<LossResult>> ComputeAsync(const LossSpec& spec,
                                                       const LossInputs& inputs,
                                                       const LossOutputs& into,
                                                       const CallOptions& call = {});

  absl::StatusOr<ServerInfo> GetServerInfo(const CallOptions& call = {});

  // Asks grpc.health.v1 whether `service` is serving. OK(true): SERVING.
  absl::StatusOr<bool> CheckHealth(const std::string& service = "", const CallOptions& call = {});

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_H_
