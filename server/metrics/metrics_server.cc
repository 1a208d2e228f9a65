#include "server/metrics/metrics_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

// Of a connection that says nothing at all; FewConnections ends the others.
constexpr unsigned kSilentSeconds = 5;
constexpr size_t kConnectionBytes = size_t{16} << 10;

// Connections that gave way stay open for a moment, until the thread that answers notices.
constexpr unsigned kMostOpen = 2 * MetricsServer::kLimits.all;
constexpr std::chrono::milliseconds kPause{10};

// Connections taken from one socket before the others have their turn.
constexpr int kBurst = 32;

// The address of a client; of IPv6 the network, in which one host may have any number of them.
std::string AddressOf(const sockaddr_storage& peer) {
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr, text, sizeof(text));
  } else if (peer.ss_family == AF_INET6) {
    in6_addr address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
    if (!IN6_IS_ADDR_V4MAPPED(&address)) std::fill_n(address.s6_addr + 8, 8, uint8_t{0});
    inet_ntop(AF_INET6, &address, text, sizeof(text));
  }
  return text;
}

MHD_Result Respond(MHD_Connection* connection, unsigned code, const char* header, const char* value,
                   std::string_view body) {
  MHD_Response* const response = MHD_create_response_from_buffer(
      body.size(), const_cast<char*>(body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, header, value);
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  const MHD_Result queued = MHD_queue_response(connection, code, response);
  MHD_destroy_response(response);
  return queued;
}

MHD_Result RespondInWords(MHD_Connection* connection, unsigned code, std::string_view words) {
  return Respond(connection, code, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain", words);
}

// What libraries throw ends here: `handler` is called from C.
MHD_Result Answer(void* collectable, MHD_Connection* connection, const char* url,
                  const char* method, const char* version, const char* upload, size_t* upload_size,
                  void** state) {
  const std::string_view asked(method);
  if (asked != MHD_HTTP_METHOD_GET && asked != MHD_HTTP_METHOD_HEAD) {
    return Respond(connection, MHD_HTTP_METHOD_NOT_ALLOWED, MHD_HTTP_HEADER_ALLOW, "GET, HEAD", "");
  }
  if (std::string_view(url) != "/metrics") {
    return RespondInWords(connection, MHD_HTTP_NOT_FOUND, "wanted /metrics\n");
  }
  try {
    const auto* const metrics = static_cast<const prometheus::Collectable*>(collectable);
    const std::string text = prometheus::TextSerializer().Serialize(metrics->Collect());
    return Respond(connection, MHD_HTTP_OK, MHD_HTTP_HEADER_CONTENT_TYPE,
                   "text/plain; version=0.0.4; charset=utf-8", text);
  } catch (const std::exception&) {
    return RespondInWords(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory\n");
  }
}

}  // namespace

// Takes connections, on a thread of its own, and ends those whose time is up; MHD answers on
// another.
class MetricsServer::Door {
 public:
  Door(std::vector<ListenSocket> sockets, const FewConnections::Limits& limits)
      : sockets_(std::move(sockets)), few_(limits) {}
  ~Door();

  absl::Status Open(const prometheus::Collectable* metrics);

 private:
  void Run();
  bool Turn();  // false: stopped
  int TimeoutMs(Instant now);
  bool Full() const;
  void AcceptAll(int listener, Instant now);
  void Admit(OwnedFd fd, const sockaddr_storage& peer, socklen_t size, Instant now);
  void End(int fd);
  static void OnChange(void* self, MHD_Connection* connection, void** state,
                       MHD_ConnectionNotificationCode code);

  const std::vector<ListenSocket> sockets_;
  MHD_Daemon* daemon_ = nullptr;
  OwnedFd stop_read_;
  OwnedFd stop_write_;  // closed in order to stop
  bool paused_ = false;
  std::thread thread_;

  std::mutex mutex_;
  FewConnections few_;
  // By MHD's descriptor of a connection: our own descriptor of it, which MHD does not close.
  std::map<int, OwnedFd> own_;
};

absl::Status MetricsServer::Door::Open(const prometheus::Collectable* metrics) {
  const auto fault = [](const char* what) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics: ", what, ": ", std::strerror(errno)));
  };
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) return fault("pipe");
  stop_read_ = OwnedFd(ends[0]);
  stop_write_ = OwnedFd(ends[1]);
  daemon_ = MHD_start_daemon(
      MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_NO_LISTEN_SOCKET, /*port=*/0, nullptr,
      nullptr, &Answer, const_cast<prometheus::Collectable*>(metrics), MHD_OPTION_NOTIFY_CONNECTION,
      &OnChange, this, MHD_OPTION_CONNECTION_LIMIT, kMostOpen + kBurst * 8,
      MHD_OPTION_CONNECTION_TIMEOUT, kSilentSeconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
      kConnectionBytes, MHD_OPTION_END);
  if (daemon_ == nullptr) return fault("MHD_start_daemon");
  try {
    thread_ = std::thread(&Door::Run, this);
  } catch (const std::system_error&) {
    return fault("thread");
  }
  return absl::OkStatus();
}

MetricsServer::Door::~Door() {
  stop_write_ = OwnedFd();
  if (thread_.joinable()) thread_.join();
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

// Where memory is short, there may be some later.
void MetricsServer::Door::Run() {
  for (bool go_on = true; go_on;) {
    try {
      go_on = Turn();
    } catch (const std::exception&) {
      std::this_thread::sleep_for(kPause);
    }
  }
}

bool MetricsServer::Door::Full() const {
  return MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections >=
         kMostOpen;
}

bool MetricsServer::Door::Turn() {
  const bool pause = std::exchange(paused_, false) || Full();
  std::vector<pollfd> polled = {{stop_read_.get(), POLLIN, 0}};
  for (const ListenSocket& socket : sockets_) {
    polled.push_back({pause ? -1 : socket.fd(), POLLIN, 0});
  }
  const int timeout = TimeoutMs(std::chrono::steady_clock::now());
  const int paused = static_cast<int>(kPause.count());
  if (poll(polled.data(), polled.size(), pause ? paused : timeout) < 0) return true;
  if (polled[0].revents != 0) return false;
  const Instant now = std::chrono::steady_clock::now();
  {
    const std::lock_guard lock(mutex_);
    for (const int fd : few_.Expire(now)) End(fd);
  }
  for (size_t i = 0; i < sockets_.size(); ++i) {
    if (polled[1 + i].revents != 0) AcceptAll(sockets_[i].fd(), now);
  }
  return true;
}

int MetricsServer::Door::TimeoutMs(Instant now) {
  const std::lock_guard lock(mutex_);
  if (few_.size() == 0) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(few_.next() - now);
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

void MetricsServer::Door::AcceptAll(int listener, Instant now) {
  for (int i = 0; i < kBurst; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof(peer);
    OwnedFd fd(
        accept4(listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.get() < 0) {
      paused_ = errno != EAGAIN;  // no descriptors, no memory, or one that has gone again
      return;
    }
    Admit(std::move(fd), peer, size, now);
  }
}

void MetricsServer::Door::Admit(OwnedFd fd, const sockaddr_storage& peer, socklen_t size,
                                Instant now) {
  OwnedFd own(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (own.get() < 0) return;
  const int name = fd.get();
  {
    const std::lock_guard lock(mutex_);
    few_.Remove(name);  // MHD does not tell of one it had no memory for
    if (const std::optional<int> evicted = few_.Add(name, AddressOf(peer), now)) End(*evicted);
    own_[name] = std::move(own);
  }
  // MHD closes it, in any case.
  if (MHD_add_connection(daemon_, fd.Release(), reinterpret_cast<const sockaddr*>(&peer), size) ==
      MHD_YES) {
    return;
  }
  const std::lock_guard lock(mutex_);
  few_.Remove(name);
  own_.erase(name);
}

// MHD sees the end of the connection. With the lock held.
void MetricsServer::Door::End(int fd) {
  const auto own = own_.find(fd);
  if (own == own_.end()) return;
  shutdown(own->second.get(), SHUT_RDWR);
  own_.erase(own);
}

// On MHD's thread, just before it closes the descriptor.
void MetricsServer::Door::OnChange(void* self, MHD_Connection* connection, void** /*state*/,
                                   MHD_ConnectionNotificationCode code) {
  if (code != MHD_CONNECTION_NOTIFY_CLOSED) return;
  auto* const door = static_cast<Door*>(self);
  const int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
  const std::lock_guard lock(door->mutex_);
  door->few_.Remove(fd);
  door->own_.erase(fd);
}

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    std::vector<ListenSocket> sockets, const prometheus::Collectable* metrics,
    const FewConnections::Limits& limits) {
  auto door = std::make_unique<Door>(std::move(sockets), limits);
  LOSSD_RETURN_IF_ERROR(door->Open(metrics));
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(door)));
}

MetricsServer::MetricsServer(std::unique_ptr<Door> door) : door_(std::move(door)) {}

MetricsServer::~MetricsServer() = default;

}  // namespace lossd
