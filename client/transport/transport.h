#ifndef LOSSD_CLIENT_TRANSPORT_TRANSPORT_H_
#define LOSSD_CLIENT_TRANSPORT_TRANSPORT_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "protos/wire/message.h"

// What the client library needs from outside: messages in and out, as the codecs make and take
// them, and time. A test can implement all of it.
//
// A transport releases the slices of a message, on any thread, when it does not read them any
// more.

namespace lossd {

// Where the events of calls are delivered: calls belong to the queue they were started on, and
// their handlers run inside its RunOne and nowhere else. One thread at a time may start calls on a
// queue and run it; Wake may come from any thread.
class EventQueue {
 public:
  virtual ~EventQueue() = default;

  // Waits for one event and runs its handler. False where none came until `until`, or Wake was
  // called.
  virtual bool RunOne(absl::Time until) = 0;

  // Makes a RunOne that waits, or else the next one, return.
  virtual void Wake() = 0;
};

// Handlers of one stream.
class StreamEvents {
 public:
  virtual ~StreamEvents() = default;

  // The last Write was taken; the next may be made. Its bytes need not have been released yet.
  virtual void OnWritten() = 0;

  // A message arrived. The next one is read when this returns.
  virtual void OnMessage(wire::Message message) = 0;

  // The stream is over: last event, always and once. The stream may be destroyed from here on.
  virtual void OnDone(absl::Status status) = 0;
};

class TransportStream {
 public:
  // Precondition: OnDone was called.
  virtual ~TransportStream() = default;

  // Sends a message; `last`: and closes the sending half. At most one at a time: see OnWritten. A
  // write that fails is answered by OnDone alone.
  virtual void Write(const grpc::ByteBuffer& message, bool last) = 0;

  // Ends the stream soon: OnDone still comes.
  virtual void Cancel() = 0;
};

// A call to be made.
struct CallSetup {
  const std::string& method;
  absl::Time deadline;
  int64_t answer_bytes;  // of the largest message that may come back
  // Of unary calls, if set: is given what ends the call soon, until `done` runs. A transport that
  // has no such thing leaves it empty.
  std::function<void()>* cancel = nullptr;
};

// Carries calls to a server. Thread-safe; outlives its queues and calls.
//
// A message that is larger than the call's answer can be ends it with an error, and a peer that
// sends ever more of one is stopped: it never fills the memory.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual std::unique_ptr<EventQueue> NewQueue() = 0;
  virtual absl::Time Now() const = 0;

  // One message each way. `done` runs once, at the latest soon after the deadline.
  virtual void Unary(EventQueue& queue, const CallSetup& call, const grpc::ByteBuffer& request,
                     std::function<void(absl::StatusOr<wire::Message>)> done) = 0;

  virtual std::unique_ptr<TransportStream> Stream(EventQueue& queue, const CallSetup& call,
                                                  StreamEvents* events) = 0;

  // Whether a stream may cover part of a tensor. A fake service may know whole tensors only.
  virtual bool TakesParts() const { return true; }

  // Called repeatedly while a call outlasts its deadline, or messages of an ended call are still
  // held: where nothing moves, ends what holds them, which may cost connections.
  virtual void Reclaim() = 0;
};

inline constexpr char kComputeMethod[] = "/lossd.v1.LossService/Compute";
inline constexpr char kComputeStreamMethod[] = "/lossd.v1.LossService/ComputeStream";
inline constexpr char kServerInfoMethod[] = "/lossd.v1.LossService/GetServerInfo";
inline constexpr char kHealthCheckMethod[] = "/grpc.health.v1.Health/Check";

// Payload of an error status: the server's wish when to be called again, in milliseconds; negative
// or not a number: never (gRPC's "grpc-retry-pushback-ms").
inline constexpr std::string_view kPushbackPayload = "lossd.client/retry-pushback-ms";

// Payload of an error status: why lossd itself turned the call away (the trailer "loss-reason").
// Without it the error was made on the way. Callers read it with LossReason.
inline constexpr std::string_view kReasonPayload = "lossd.client/loss-reason";

// Payload of an error status: the call waited for a connection while another server was there. It
// may be made again at once, and is not held against its attempts.
inline constexpr std::string_view kUnsentPayload = "lossd.client/unsent";

}  // namespace lossd

#endif  // LOSSD_CLIENT_TRANSPORT_TRANSPORT_H_
