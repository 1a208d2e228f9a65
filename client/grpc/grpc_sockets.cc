#include "client/grpc/grpc_sockets.h"

#include <fcntl.h>
#include <grpc/support/sync.h>
#include <grpcpp/version_info.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <utility>

#include "absl/time/clock.h"

// The C++ API takes a grpc_socket_mutator, but what one is stands in a header that is not installed
// (src/core/lib/iomgr/socket_mutator.h).
static_assert(GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51,
              "compare grpc_socket_mutator with that of this version of gRPC");
struct SocketMutatorTable {
  bool (*mutate_fd)(int fd, grpc_socket_mutator* mutator);
  int (*compare)(grpc_socket_mutator* a, grpc_socket_mutator* b);
  void (*destroy)(grpc_socket_mutator* mutator);
  bool (*mutate_fd_2)(const void* info, grpc_socket_mutator* mutator);  // null: the first
};
struct grpc_socket_mutator {
  const SocketMutatorTable* vtable;
  gpr_refcount refcount;
};

namespace lossd {
namespace {

// After this long without a look, what was seen then says nothing any more.
constexpr absl::Duration kForgotten = absl::Seconds(1);

// A socket is shown before it connects, and is not connected then.
constexpr absl::Duration kConnects = absl::Seconds(1);

}  // namespace

// A descriptor of our own for a socket of gRPC's: whatever gRPC does with its one, this one leads
// to no other socket. gRPC shuts sockets down before it closes them, so it keeps no connection up.
class GrpcSockets::Socket {
 public:
  Socket(int fd, absl::Time now) : fd_(fcntl(fd, F_DUPFD_CLOEXEC, 0)), added_(now) {}
  Socket(Socket&& other) noexcept { Swap(other); }
  Socket& operator=(Socket&& other) noexcept {
    Swap(other);
    return *this;
  }
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }

  bool Over(absl::Time now) const {
    pollfd polled = {fd_, 0, 0};
    return poll(&polled, 1, 0) != 0 && now - added_ > kConnects;
  }

  void Forget() { unsent_ = 0; }

  void BreakIfStuck(absl::Time now) {
    int unsent = 0;
    if (ioctl(fd_, SIOCOUTQ, &unsent) != 0) return;
    if (unsent == 0 || unsent != unsent_) since_ = now;
    unsent_ = unsent;
    if (unsent != 0 && now - since_ >= kStuck) shutdown(fd_, SHUT_RDWR);
  }

 private:
  void Swap(Socket& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(added_, other.added_);
    std::swap(unsent_, other.unsent_);
    std::swap(since_, other.since_);
  }

  int fd_ = -1;
  absl::Time added_;
  int unsent_ = 0;    // bytes the other end has not taken, when they were looked at last
  absl::Time since_;  // when there were that many first
};

// What gRPC keeps, as long as channels with its arguments may connect.
struct GrpcSockets::Hook : grpc_socket_mutator {
  explicit Hook(std::shared_ptr<GrpcSockets> sockets_in) : sockets(std::move(sockets_in)) {
    static constexpr SocketMutatorTable kTable = {&Show, &Compare, &Destroy, nullptr};
    vtable = &kTable;
    gpr_ref_init(&refcount, 1);
  }

  static bool Show(int fd, grpc_socket_mutator* self) {
    static_cast<Hook*>(self)->sockets->Add(fd);
    return true;
  }
  static int Compare(grpc_socket_mutator* a, grpc_socket_mutator* b) {
    return std::less<>()(a, b) ? -1 : static_cast<int>(a != b);
  }
  static void Destroy(grpc_socket_mutator* self) { delete static_cast<Hook*>(self); }

  const std::shared_ptr<GrpcSockets> sockets;
};

GrpcSockets::GrpcSockets() = default;
GrpcSockets::~GrpcSockets() = default;

void GrpcSockets::Watch(grpc::ChannelArguments& arguments) {
  arguments.SetSocketMutator(new Hook(shared_from_this()));  // which owns it
}

void GrpcSockets::Add(int fd) {
  const absl::Time now = absl::Now();
  const std::lock_guard lock(mutex_);
  std::erase_if(sockets_, [now](const Socket& one) { return one.Over(now); });
  sockets_.emplace_back(fd, now);
}

void GrpcSockets::BreakStuck(absl::Time now) {
  const std::lock_guard lock(mutex_);
  const bool forgotten = now - std::exchange(looked_, now) > kForgotten;
  for (Socket& one : sockets_) {
    if (forgotten) one.Forget();
    one.BreakIfStuck(now);
  }
}

}  // namespace lossd
