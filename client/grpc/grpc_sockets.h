#ifndef LOSSD_CLIENT_GRPC_GRPC_SOCKETS_H_
#define LOSSD_CLIENT_GRPC_GRPC_SOCKETS_H_

#include <grpcpp/support/channel_arguments.h>

#include <memory>
#include <mutex>
#include <vector>

#include "absl/time/time.h"

namespace lossd {

// Keeps the sockets of connections, which gRPC shows only to the code that sets their options.
//
// In the middle of a write gRPC ends neither a connection nor the calls whose messages are part of
// it. Where a line is dead, or its other end does not read, that holds them, and the memory they
// were lent, until TCP gives up. A socket that is shut down fails the write. (docs/adr/018)
// Thread-safe.
class GrpcSockets : public std::enable_shared_from_this<GrpcSockets> {
 public:
  // To be owned by shared_ptr.
  GrpcSockets();
  ~GrpcSockets();
  GrpcSockets(const GrpcSockets&) = delete;
  GrpcSockets& operator=(const GrpcSockets&) = delete;

  // Knows the sockets of channels made with these arguments from now on.
  void Watch(grpc::ChannelArguments& arguments);

  // Ends connections that have had something to send, and of which nothing was taken, for kStuck.
  // Looks back to its own calls, so it is to be called repeatedly while a call waits.
  void BreakStuck(absl::Time now);

  static constexpr absl::Duration kStuck = absl::Milliseconds(150);

 private:
  struct Hook;
  class Socket;

  void Add(int fd);

  std::mutex mutex_;
  std::vector<Socket> sockets_;
  absl::Time looked_ = absl::InfinitePast();
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_GRPC_SOCKETS_H_
