#ifndef LOSSD_CLIENT_SHARED_MEMORY_REGION_CONNECTION_H_
#define LOSSD_CLIENT_SHARED_MEMORY_REGION_CONNECTION_H_

#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "protos/wire/message.h"

namespace lossd {

// Memory that is shared with a server, for as long as this lives (protos/wire/region_socket.h).
// Thread-safe.
class RegionConnection {
 public:
  // Waits a few seconds at most. The server's code and message if it refuses; kUnavailable if none
  // listens on the Unix socket `path`.
  static absl::StatusOr<std::unique_ptr<RegionConnection>> Share(const std::string& path,
                                                                 int descriptor);
  ~RegionConnection();
  RegionConnection(const RegionConnection&) = delete;
  RegionConnection& operator=(const RegionConnection&) = delete;

  const wire::Region::Token& token() const { return token_; }

  // Waits, some seconds at most, until no call of the server uses the memory, or the server is
  // gone. False: one still may.
  bool WaitUntilQuiet();

  // The server unmaps the memory, once no call uses it.
  void End() const;

 private:
  explicit RegionConnection(int socket) : socket_(socket) {}
  absl::Status Connect(const std::string& path);
  absl::Status Send(int descriptor);
  absl::StatusOr<std::string> Receive();
  bool ReceiveAll(void* into, size_t size);

  const int socket_;
  std::mutex asking_;
  bool timed_out_ = false;
  wire::Region::Token token_ = {};
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_SHARED_MEMORY_REGION_CONNECTION_H_
