#include "server/listen/socket_calls.h"

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

#include "server/listen/frame_guard.h"

namespace lossd {
namespace {

std::atomic<int64_t> refused_headers = 0;

// What is known of a connection. gRPC reads a socket in one thread at a time.
struct Watched {
  explicit Watched(std::shared_ptr<ConnectionAccount> of) : account(std::move(of)) {}

  // Takes what gRPC is about to parse; false: the connection must be closed.
  bool Pass(const void* bytes, size_t size) {
    if (frames.Pass({static_cast<const uint8_t*>(bytes), size})) {
      account->DataCame(frames.TakeData());
      return account->StreamsOpened(frames.TakeOpened());
    }
    refused_headers.fetch_add(1, std::memory_order_relaxed);
    return false;
  }

  std::shared_ptr<ConnectionAccount> account;
  FrameGuard frames;
};

struct Named {
  int fd = -1;
  const PeerName* peer = nullptr;
  std::shared_ptr<ConnectionAccount> account = nullptr;
};
thread_local Named handing_over;

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

bool Pass(Watched& connection, const msghdr& message, ssize_t received) {
  auto left = static_cast<size_t>(received);
  for (size_t i = 0; i < message.msg_iovlen && left > 0; ++i) {
    const iovec& piece = message.msg_iov[i];
    const size_t size = std::min(left, piece.iov_len);
    if (!connection.Pass(piece.iov_base, size)) return false;
    left -= size;
  }
  return true;
}

// Where an encrypted connection of ours has its Watched, which is deleted with it.
int WatchedIndex() {
  static const int index =
      CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, nullptr, nullptr, nullptr,
                              [](void*, void* watched, CRYPTO_EX_DATA*, int, long, void*) {
                                delete static_cast<Watched*>(watched);
                              });
  return index;
}

bool Watch(SSL* ssl, const std::shared_ptr<ConnectionAccount>& account) {
  std::unique_ptr<Watched> watched(new (std::nothrow) Watched(account));
  if (watched == nullptr || SSL_set_ex_data(ssl, WatchedIndex(), watched.get()) == 0) return false;
  static_cast<void>(watched.release());
  return true;
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

HandingOver::HandingOver(int fd, const PeerName& peer, std::shared_ptr<ConnectionAccount> account) {
  handing_over = {fd, &peer, std::move(account)};
}
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
  if (lossd::Pass(*connection, *message, received)) return received;
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

// gRPC makes one for a connection while it is handed over.
__attribute__((visibility("default"))) SSL* SSL_new(SSL_CTX* ctx) {
  static auto* const next = lossd::Next<SSL*(SSL_CTX*)>("SSL_new");
  SSL* const ssl = next(ctx);
  const std::shared_ptr<lossd::ConnectionAccount>& account = lossd::handing_over.account;
  if (ssl == nullptr || account == nullptr || lossd::Watch(ssl, account)) return ssl;
  SSL_free(ssl);
  return nullptr;
}

__attribute__((visibility("default"))) int SSL_read(SSL* ssl, void* buf, int num) {
  static auto* const next = lossd::Next<int(SSL*, void*, int)>("SSL_read");
  const int received = next(ssl, buf, num);
  auto* const connection =
      static_cast<lossd::Watched*>(SSL_get_ex_data(ssl, lossd::WatchedIndex()));
  if (received <= 0 || connection == nullptr) return received;
  if (connection->Pass(buf, static_cast<size_t>(received))) return received;
  ERR_raise(ERR_LIB_SSL, SSL_R_EXCESSIVE_MESSAGE_SIZE);
  return -1;
}

}  // extern "C"
