#ifndef LOSSD_SERVER_CONTROL_CONTROL_METHOD_H_
#define LOSSD_SERVER_CONTROL_CONTROL_METHOD_H_

#include <grpcpp/support/byte_buffer.h>

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/admission/method.h"

namespace lossd {

class HealthState;

// What one call of a control method (health, reflection) does with its messages. It knows nothing
// of gRPC's operations: ControlCall reads and writes for it.
class ControlMethod {
 public:
  virtual ~ControlMethod() = default;

  // The caller sent `message`. Called without a lock, one message at a time. An error ends the
  // call with that status.
  virtual absl::Status OnMessage(const grpc::ByteBuffer& message) = 0;

  // The message to send next; nullopt: there is none for now. Called after OnMessage, after each
  // write, and after `changed`; never twice at once, and never together with OnMessage unless the
  // method subscribed to changes.
  virtual absl::StatusOr<std::optional<grpc::ByteBuffer>> NextAnswer() = 0;
};

// When a call reads and when it ends.
enum class ControlFlow : int8_t {
  kOneAnswer,     // one message, one answer
  kWatch,         // one message, then an answer at each change until the caller leaves
  kConversation,  // an answer to each message until the caller sends no more
};

// One row a method.
struct ControlRoute {
  std::string_view path;
  Method method;
  ControlFlow flow;
  bool needs_token;
  int64_t max_message_bytes;
  // `changed` may be called from any thread while the method exists.
  std::unique_ptr<ControlMethod> (*make)(HealthState& health, std::function<void()> changed);
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CONTROL_CONTROL_METHOD_H_
