#include "server/listen/accept_loop.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/admission/peer_address.h"
#include "server/listen/proxy_header.h"
#include "server/listen/socket_calls.h"

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

// How often accounts are looked at.
constexpr absl::Duration kAccountsPeriod = absl::Seconds(1);

// Until the rest of a PROXY header is looked for, which is hardly ever not there at once.
constexpr absl::Duration kHeaderPause = absl::Milliseconds(10);

// What was sent and is there, without taking it. Empty: the connection was closed.
std::string_view Peek(int fd, std::span<char> buffer) {
  const ssize_t size = recv(fd, buffer.data(), buffer.size(), MSG_PEEK | MSG_DONTWAIT);
  return {buffer.data(), static_cast<size_t>(std::max<ssize_t>(size, 0))};
}

}  // namespace

absl::StatusOr<std::unique_ptr<AcceptLoop>> AcceptLoop::Start(std::vector<ListenSocket> sockets,
                                                              std::unique_ptr<Acceptor> acceptor,
                                                              const Limits& limits,
                                                              Ledger* ledger) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen: pipe: ", std::strerror(errno)));
  }
  std::unique_ptr<AcceptLoop> loop(
      new AcceptLoop(std::move(sockets), std::move(acceptor), limits, ledger));
  loop->refused_headers_ = RefusedHeaders();
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

void AcceptLoop::Break(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (!open_.Break(name)) return;
  Count(ConnectionRefusal::kPeerQuota);
  Warn("calls beyond all quotas");
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
  Want(absl::Now());
  if (poll(polled_.data(), polled_.size(), TimeoutMs(absl::Now())) < 0 && errno != EINTR) {
    absl::SleepFor(kPause);  // ENOMEM
    return true;
  }
  if (polled_[0].revents != 0) return false;
  const absl::Time now = absl::Now();
  {
    const std::lock_guard lock(mutex_);
    LookAtSilent(now);
    if (now >= accounts_due_) LookAtAccounts(now);
  }
  for (size_t i = 0; i < sockets_.size(); ++i) {
    if (polled_[1 + i].revents != 0) AcceptAll(sockets_[i].fd(), now);
  }
  return true;
}

// The end of the pipe, the listening sockets, the silent connections.
void AcceptLoop::Want(absl::Time now) {
  polled_.assign(1, {stop_read_.get(), POLLIN, 0});
  for (const ListenSocket& socket : sockets_) {
    polled_.push_back({now < pause_until_ ? -1 : socket.fd(), POLLIN, 0});
  }
  for (const Silent& one : silent_) {
    polled_.push_back({now < one.look_again ? -1 : one.fd.get(), POLLIN, 0});
  }
}

int AcceptLoop::TimeoutMs(absl::Time now) const {
  absl::Time wake = absl::InfiniteFuture();
  if (now < pause_until_) wake = pause_until_;
  for (const Silent& one : silent_) {
    wake = std::min(wake, now < one.look_again ? one.look_again : one.until);
  }
  if (!open_.none()) wake = std::min(wake, accounts_due_);
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
  Silent one = {.fd = std::move(fd), .until = now + limits_.silent_timeout};
  one.peer = PeerName::OfSocket(one.fd.get(), ++accepted_);
  one.address = PeerAddressOf(one.peer.text);
  one.proxy = limits_.proxies.Trusts(one.peer.address);
  if (!MakeRoomFor(one.address, now)) {
    Count(ConnectionRefusal::kTooMany);
    return Warn("too many connections");
  }
  if (static_cast<int64_t>(silent_.size()) >= limits_.silent) DropOneSilent();
  silent_.push_back(std::move(one));
}

bool AcceptLoop::MakeRoomFor(std::string_view address, absl::Time now) {
  const auto silent = static_cast<int64_t>(silent_.size());
  if (open_.Below(limits_.connections - silent, now)) return true;
  if (!open_.MakeRoomFor(address)) return false;
  Count(ConnectionRefusal::kGaveWay);
  Warn("its address has most connections, and others want one");
  return true;
}

// The oldest of the address that has most of them.
void AcceptLoop::DropOneSilent() {
  std::map<std::string_view, int64_t> counts;
  for (const Silent& one : silent_) ++counts[one.address];
  const auto most = std::max_element(
      counts.begin(), counts.end(),
      [](const auto& one, const auto& other) { return one.second < other.second; });
  silent_.erase(std::find_if(silent_.begin(), silent_.end(),
                             [&](const Silent& one) { return one.address == most->first; }));
  Count(ConnectionRefusal::kSilent);
}

void AcceptLoop::Warn(std::string_view reason) const {
  if (limits_.log == nullptr) return;
  limits_.log->Write(LogLevel::kWarning, LogEvent::kConnection, {{"reason", reason}});
}

// Takes a PROXY header off, where there may be one.
AcceptLoop::Opening AcceptLoop::TakeOpening(Silent& silent) const {
  std::array<char, kMostProxyHeaderBytes> buffer;
  const std::span<char> wanted(buffer.data(), silent.proxy ? buffer.size() : 1);
  const std::string_view bytes = Peek(silent.fd.get(), wanted);
  if (bytes.empty()) return Opening::kNothing;
  if (!silent.proxy) return Opening::kGood;
  const absl::StatusOr<std::optional<ProxyHeader>> header = ReadProxyHeader(bytes);
  if (!header.ok()) return Opening::kBad;
  if (!header->has_value()) return Opening::kPartOfHeader;
  const auto size = static_cast<ssize_t>((*header)->size);
  if (size > 0 && recv(silent.fd.get(), buffer.data(), size, MSG_DONTWAIT) != size) {
    return Opening::kBad;
  }
  silent.proxy = false;  // it has said so
  if ((*header)->source) silent.peer = PeerName::Of(*(*header)->source);
  return Opening::kGood;
}

void AcceptLoop::HandOver(Silent& silent) {
  if (open_.at_most() >= limits_.without_calls && open_.without_calls() >= limits_.without_calls &&
      open_.BreakOneWithoutCalls()) {
    Count(ConnectionRefusal::kGaveWay);
  }
  std::shared_ptr<ConnectionAccount> account = ledger_->Open(silent.peer.text);
  open_.Add(silent.fd.get(), account);
  const HandingOver named(silent.fd.get(), silent.peer, std::move(account));
  Acceptor::NewConnectionParameters connection;
  connection.listener_fd = -1;
  connection.fd = silent.fd.get();
  acceptor_->HandleNewConnection(&connection);
  silent.fd.Release();
}

// A connection is worth some tries: its client would come again only after a pause that grows.
void AcceptLoop::HandOverIfMemoryAllows(Silent& silent) {
  constexpr int kTries = 64;
  for (int i = 0; i < kTries && silent.fd.get() >= 0; ++i) {
    try {
      HandOver(silent);
    } catch (const std::bad_alloc&) {  // under another number, which nothing knows yet
      silent.fd = OwnedFd(fcntl(silent.fd.get(), F_DUPFD_CLOEXEC, 0));
    }
  }
}

void AcceptLoop::LookAtSilent(absl::Time now) {
  for (size_t i = 0; i < silent_.size(); ++i) {
    Silent& one = silent_[i];
    const bool readable = (polled_[1 + sockets_.size() + i].revents & kReadable) != 0;
    const Opening opening = readable ? TakeOpening(one) : Opening::kPartOfHeader;
    if (opening == Opening::kPartOfHeader && now < one.until) {
      if (readable) one.look_again = now + kHeaderPause;
      continue;
    }
    if (opening == Opening::kPartOfHeader) Count(ConnectionRefusal::kSilent);
    if (opening == Opening::kBad) {
      Count(ConnectionRefusal::kBadHeader);
      Warn("a trusted proxy began with a PROXY header that cannot be understood");
    }
    if (opening == Opening::kGood) HandOverIfMemoryAllows(one);
    one.fd = OwnedFd();  // what was not handed over is closed
  }
  std::erase_if(silent_, [](const Silent& one) { return one.fd.get() < 0; });
}

// gRPC finds a connection broken when it next reads; one that is silent is shut down here.
void AcceptLoop::LookAtAccounts(absl::Time now) {
  accounts_due_ = now + kAccountsPeriod;
  for (const auto& account : ledger_->Tick(std::chrono::steady_clock::now())) {
    open_.Break(account->name());
  }
  open_.Count();
  open_.ReportClosedAgain();
  for (; broken_ < ledger_->broken(); ++broken_) {
    Count(ConnectionRefusal::kUnexplained);
    Warn("more came than its calls explain");
  }
  for (; refused_headers_ < RefusedHeaders(); ++refused_headers_) {
    Count(ConnectionRefusal::kHeaderBlock);
    Warn("the headers of a call had more fields or bytes than they may");
  }
}

}  // namespace lossd
