#include "server/front/socket_calls.h"

#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <utility>

#include "server/front/header_guard.h"

namespace lossd {
namespace {

struct Named {
  int fd = -1;
  const PeerName* peer = nullptr;
};
thread_local Named handing_over;

// What is known of a connection. gRPC reads a socket in one thread at a time.
struct Watched {
  std::shared_ptr<ConnectionAccount> account;
  HeaderGuard headers = {};
};

// Connections by descriptor, in parts so that threads seldom wait for each other. A descriptor that
// gRPC has closed stays until it is used again, or its connection is found to be gone.
class Connections {
 public:
  void Set(int fd, std::shared_ptr<ConnectionAccount> account) {
    Part& part = PartOf(fd);
    const auto watched =
        account == nullptr ? nullptr : std::make_shared<Watched>(std::move(account));
    const std::lock_guard lock(part.mutex);
    if (watched != nullptr) {
      part.connections.insert_or_assign(fd, watched);
    } else {
      part.connections.erase(fd);
    }
  }

  std::shared_ptr<Watched> Of(int fd) {
    Part& part = PartOf(fd);
    const std::lock_guard lock(part.mutex);
    const auto found = part.connections.find(fd);
    return found == part.connections.end() ? nullptr : found->second;
  }

 private:
  struct Part {
    std::mutex mutex;
    std::map<int, std::shared_ptr<Watched>> connections;
  };
  static constexpr size_t kParts = 64;

  Part& PartOf(int fd) { return parts_[static_cast<size_t>(fd) % kParts]; }

  std::array<Part, kParts> parts_;
};

// Lives as long as any thread of gRPC's may, which is to the end.
Connections& AllConnections() {
  static auto& connections = *new Connections;
  return connections;
}

std::atomic<int64_t> refused_headers = 0;

bool Pass(HeaderGuard& guard, const msghdr& message, ssize_t received) {
  auto left = static_cast<size_t>(received);
  for (size_t i = 0; i < message.msg_iovlen && left > 0; ++i) {
    const iovec& piece = message.msg_iov[i];
    const size_t size = std::min(left, piece.iov_len);
    if (!guard.Pass({static_cast<const uint8_t*>(piece.iov_base), size})) return false;
    left -= size;
  }
  return true;
}

// The guard of an encrypted connection to this server, which is deleted with `ssl`; null
// where there is no memory for it.
HeaderGuard* GuardOf(SSL* ssl) {
  static const int index =
      CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, nullptr, nullptr, nullptr,
                              [](void*, void* guard, CRYPTO_EX_DATA*, int, long, void*) {
                                delete static_cast<HeaderGuard*>(guard);
                              });
  auto* guard = static_cast<HeaderGuard*>(SSL_get_ex_data(ssl, index));
  if (guard != nullptr) return guard;
  guard = new (std::nothrow) HeaderGuard;
  if (guard != nullptr && SSL_set_ex_data(ssl, index, guard) == 0) {
    delete guard;
    return nullptr;
  }
  return guard;
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

int64_t RefusedHeaders() { return refused_headers.load(std::memory_order_relaxed); }

void SetAccount(int fd, std::shared_ptr<ConnectionAccount> account) {
  AllConnections().Set(fd, std::move(account));
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
  const std::shared_ptr<lossd::Watched> connection = lossd::AllConnections().Of(fd);
  if (connection == nullptr) return lossd::SystemReceive(fd, message, flags);
  if (!connection->account->MayRead()) {
    errno = ECONNRESET;
    return -1;
  }
  const ssize_t received = lossd::SystemReceive(fd, message, flags);
  if (received <= 0) return received;
  connection->account->Received(received);
  if (lossd::Pass(connection->headers, *message, received)) return received;
  ++lossd::refused_headers;
  errno = ECONNRESET;
  return -1;
}

__attribute__((visibility("default"))) ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  const ssize_t sent = lossd::SystemSend(fd, message, flags);
  if (sent <= 0) return sent;
  const std::shared_ptr<lossd::Watched> connection = lossd::AllConnections().Of(fd);
  if (connection != nullptr) connection->account->Sent(sent);
  return sent;
}

// What gRPC reads of an encrypted connection. A guard that cannot be had lets nothing through.
__attribute__((visibility("default"))) int SSL_read(SSL* ssl, void* buffer, int size) {
  static auto* const next = lossd::Next<int(SSL*, void*, int)>("SSL_read");
  const int received = next(ssl, buffer, size);
  if (received <= 0 || SSL_is_server(ssl) == 0) return received;
  lossd::HeaderGuard* const guard = lossd::GuardOf(ssl);
  const std::span<const uint8_t> bytes(static_cast<const uint8_t*>(buffer),
                                       static_cast<size_t>(received));
  if (guard != nullptr && guard->Pass(bytes)) return received;
  ++lossd::refused_headers;
  ERR_raise(ERR_LIB_SSL, SSL_R_EXCESSIVE_MESSAGE_SIZE);
  return -1;
}

}  // extern "C"
