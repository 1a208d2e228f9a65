#ifndef LOSSD_SERVER_ADMISSION_ARRIVALS_H_
#define LOSSD_SERVER_ADMISSION_ARRIVALS_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace lossd {

// Counts the bytes that connections bring. gRPC reports whole messages only, so this is how a call
// knows that a part of its message has come. Thread-safe.
class Arrivals {
 public:
  // All bytes so far over the connection that grpc::ServerContext::peer() gives this name, whatever
  // call they belong to. nullopt: they are not counted, or the connection is gone.
  virtual std::optional<int64_t> BytesReceived(std::string_view connection) const = 0;

  // Whether the connection has brought bytes that this process has not read yet. False where that
  // is not known.
  virtual bool BytesWait(std::string_view connection) const = 0;

 protected:
  ~Arrivals() = default;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_ARRIVALS_H_
