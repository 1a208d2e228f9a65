#include "server/front/socket_calls.h"

#include <dlfcn.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

namespace lossd {
namespace {

struct Named {
  int fd = -1;
  const PeerName* peer = nullptr;
};
thread_local Named handing_over;

// Accounts by descriptor, in parts so that threads are not in each other's way. A descriptor that
// gRPC has closed stays until it is used again, or its connection is found to be gone.
class Accounts {
 public:
  void Set(int fd, std::shared_ptr<ConnectionAccount> account) {
    Part& part = PartOf(fd);
    const std::lock_guard lock(part.mutex);
    if (account != nullptr) {
      part.accounts.insert_or_assign(fd, std::move(account));
    } else {
      part.accounts.erase(fd);
    }
  }

  std::shared_ptr<ConnectionAccount> Of(int fd) {
    Part& part = PartOf(fd);
    const std::lock_guard lock(part.mutex);
    const auto found = part.accounts.find(fd);
    return found == part.accounts.end() ? nullptr : found->second;
  }

 private:
  struct Part {
    std::mutex mutex;
    std::map<int, std::shared_ptr<ConnectionAccount>> accounts;
  };
  static constexpr size_t kParts = 64;

  Part& PartOf(int fd) { return parts_[static_cast<size_t>(fd) % kParts]; }

  std::array<Part, kParts> parts_;
};

// Lives as long as any thread of gRPC's may, which is to the end.
Accounts& AllAccounts() {
  static auto& accounts = *new Accounts;
  return accounts;
}

template <class Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

int SystemPeerName(int fd, sockaddr* address, socklen_t* size) {
  static auto* const next = Next<int(int, sockaddr*, socklen_t*)>("getpeername");
  return next(fd, address, size);
}

ssize_t SystemReceive(int fd, msghdr* message, int flags) {
  static auto* const next = Next<ssize_t(int, msghdr*, int)>("recvmsg");
  return next(fd, message, flags);
}

ssize_t SystemSend(int fd, const msghdr* message, int flags) {
  static auto* const next = Next<ssize_t(int, const msghdr*, int)>("sendmsg");
  return next(fd, message, flags);
}

}  // namespace

HandingOver::HandingOver(int fd, const PeerName& peer) { handing_over = {fd, &peer}; }
HandingOver::~HandingOver() { handing_over = {}; }

void SetAccount(int fd, std::shared_ptr<ConnectionAccount> account) {
  AllAccounts().Set(fd, std::move(account));
}

}  // namespace lossd

extern "C" {

__attribute__((visibility("default"))) int getpeername(int fd, sockaddr* addr,
                                                       socklen_t* len) noexcept {
  const lossd::PeerName* const peer = lossd::handing_over.peer;
  if (peer == nullptr || peer->size == 0 || lossd::handing_over.fd != fd) {
    return lossd::SystemPeerName(fd, addr, len);
  }
  std::memcpy(addr, &peer->address, std::min(*len, peer->size));
  *len = peer->size;
  return 0;
}

// With flags it is about errors and timestamps of the socket, not about what the peer sent.
__attribute__((visibility("default"))) ssize_t recvmsg(int fd, msghdr* message, int flags) {
  if (flags != 0) return lossd::SystemReceive(fd, message, flags);
  const std::shared_ptr<lossd::ConnectionAccount> account = lossd::AllAccounts().Of(fd);
  if (account == nullptr) return lossd::SystemReceive(fd, message, flags);
  if (!account->MayRead()) {
    errno = ECONNRESET;
    return -1;
  }
  const ssize_t received = lossd::SystemReceive(fd, message, flags);
  if (received > 0) account->Received(received);
  return received;
}

__attribute__((visibility("default"))) ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  const ssize_t sent = lossd::SystemSend(fd, message, flags);
  if (sent <= 0) return sent;
  const std::shared_ptr<lossd::ConnectionAccount> account = lossd::AllAccounts().Of(fd);
  if (account != nullptr) account->Sent(sent);
  return sent;
}

}  // extern "C"
