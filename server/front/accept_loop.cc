#include "server/front/accept_loop.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace lossd {
namespace {

// After accept() has failed for want of something: until it is tried again. The clients wait in the
// backlog of the system meanwhile.
constexpr absl::Duration kPause = absl::Milliseconds(50);

// Connections taken from one socket before the others have their turn.
constexpr int kBurst = 64;

constexpr short kReadable = POLLIN | POLLHUP | POLLERR;

// What is wrong with one connection, not with accepting; accept(2) on errors of the network.
bool ConcernsOneConnection(int error) {
  for (const int one : {EINTR, ECONNABORTED, EPROTO, EPERM, ENETDOWN, ENOPROTOOPT, EHOSTDOWN,
                        ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH}) {
    if (error == one) return true;
  }
  return false;
}

// Whether something was sent, and not just the connection closed.
bool HasSpoken(int fd) {
  char byte;
  return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AcceptLoop>> AcceptLoop::Start(std::vector<ListenSocket> sockets,
                                                              std::unique_ptr<Acceptor> acceptor,
                                                              const Limits& limits) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen: pipe: ", std::strerror(errno)));
  }
  std::unique_ptr<AcceptLoop> loop(new AcceptLoop(std::move(sockets), std::move(acceptor), limits));
  loop->stop_read_ = OwnedFd(ends[0]);
  loop->stop_write_ = OwnedFd(ends[1]);
  loop->thread_ = std::thread(&AcceptLoop::Run, loop.get());
  return loop;
}

AcceptLoop::~AcceptLoop() { Stop(); }

void AcceptLoop::Stop() {
  if (!thread_.joinable()) return;
  stop_write_ = OwnedFd();
  thread_.join();
  sockets_.clear();
  const std::lock_guard lock(mutex_);
  silent_.clear();
}

int64_t AcceptLoop::connections() {
  const std::lock_guard lock(mutex_);
  return open_.Count() + static_cast<int64_t>(silent_.size());
}

void AcceptLoop::Break(std::string_view peer) {
  const std::lock_guard lock(mutex_);
  if (!open_.Break(peer)) return;
  Count(ConnectionRefusal::kPeerQuota);
  Warn("calls beyond all quotas");
}

std::optional<int64_t> AcceptLoop::BytesReceived(std::string_view peer) {
  const std::lock_guard lock(mutex_);
  return open_.BytesReceived(peer);
}

std::array<int64_t, kConnectionRefusals> AcceptLoop::refused() const {
  std::array<int64_t, kConnectionRefusals> counts{};
  std::copy(refused_.begin(), refused_.end(), counts.begin());
  return counts;
}

// Where memory is short, there may be some later; what could not be kept of a connection then, its
// client makes again.
void AcceptLoop::Run() {
  for (bool go_on = true; go_on;) {
    try {
      go_on = Turn();
    } catch (const std::bad_alloc&) {
      absl::SleepFor(kPause);
    }
  }
}

bool AcceptLoop::Turn() {
  std::vector<pollfd> polled = Wanted(absl::Now());
  if (poll(polled.data(), polled.size(), TimeoutMs(absl::Now())) < 0 && errno != EINTR) {
    absl::SleepFor(kPause);  // ENOMEM
    return true;
  }
  if (polled[0].revents != 0) return false;
  const absl::Time now = absl::Now();
  LookAtSilent(polled, now);
  for (size_t i = 0; i < sockets_.size(); ++i) {
    if (polled[1 + i].revents != 0) AcceptAll(sockets_[i].fd(), now);
  }
  return true;
}

// The end of the pipe, the listening sockets, the silent connections.
std::vector<pollfd> AcceptLoop::Wanted(absl::Time now) const {
  std::vector<pollfd> wanted = {{stop_read_.get(), POLLIN, 0}};
  for (const ListenSocket& socket : sockets_) {
    wanted.push_back({now < pause_until_ ? -1 : socket.fd(), POLLIN, 0});
  }
  for (const Silent& one : silent_) wanted.push_back({one.fd.get(), POLLIN, 0});
  return wanted;
}

int AcceptLoop::TimeoutMs(absl::Time now) const {
  absl::Time wake = absl::InfiniteFuture();
  if (now < pause_until_) wake = pause_until_;
  if (!silent_.empty()) wake = std::min(wake, silent_.front().until);
  if (wake == absl::InfiniteFuture()) return -1;
  return static_cast<int>(absl::ToInt64Milliseconds(
      std::clamp(wake - now + absl::Milliseconds(1), absl::ZeroDuration(), absl::Hours(1))));
}

void AcceptLoop::AcceptAll(int listener, absl::Time now) {
  for (int i = 0; i < kBurst; ++i) {
    if (!Accept(listener, now)) return;
  }
}

// False: there is none to take, or none can be taken now.
bool AcceptLoop::Accept(int listener, absl::Time now) {
  OwnedFd fd(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd.get() >= 0) {
    Admit(std::move(fd), now);
    return true;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
  if (ConcernsOneConnection(errno)) return true;
  pause_until_ = now + kPause;  // no descriptors, no memory
  Warn(std::strerror(errno));
  return false;
}

// A connection too many is closed at once, so that its client tries another server.
void AcceptLoop::Admit(OwnedFd fd, absl::Time now) {
  const std::lock_guard lock(mutex_);
  const auto silent = static_cast<int64_t>(silent_.size());
  if (!open_.Below(limits_.connections - silent, now)) {
    Count(ConnectionRefusal::kTooMany);
    return Warn("too many connections");
  }
  if (silent >= limits_.silent) {
    Count(ConnectionRefusal::kSilent);
    silent_.pop_front();
  }
  silent_.push_back({std::move(fd), now + limits_.silent_timeout});
}

void AcceptLoop::Warn(std::string_view reason) const {
  if (limits_.log == nullptr) return;
  limits_.log->Write(LogLevel::kWarning, LogEvent::kConnection, {{"reason", reason}});
}

void AcceptLoop::HandOver(OwnedFd fd) {
  open_.Add(fd.get());
  Acceptor::NewConnectionParameters connection;
  connection.listener_fd = -1;
  connection.fd = fd.get();
  acceptor_->HandleNewConnection(&connection);
  fd.Release();
}

void AcceptLoop::LookAtSilent(const std::vector<pollfd>& polled, absl::Time now) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < silent_.size(); ++i) {
    Silent& one = silent_[i];
    const bool readable = (polled[1 + sockets_.size() + i].revents & kReadable) != 0;
    if (!readable && now < one.until) continue;
    if (!readable) Count(ConnectionRefusal::kSilent);
    OwnedFd fd = std::move(one.fd);  // what is left is closed
    if (readable && HasSpoken(fd.get())) HandOver(std::move(fd));
  }
  std::erase_if(silent_, [](const Silent& one) { return one.fd.get() < 0; });
}

}  // namespace lossd
