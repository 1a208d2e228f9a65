#include "server/listen/open_connections.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <new>
#include <utility>

#include "server/admission/peer_address.h"
#include "server/listen/listen_socket.h"
#include "server/listen/socket_calls.h"

namespace lossd {
namespace {

ino_t InodeOf(int fd) {
  struct stat about;
  return fstat(fd, &about) == 0 ? about.st_ino : 0;
}

bool BytesWait(int fd, ino_t inode) {
  int bytes = 0;
  return InodeOf(fd) == inode && ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

// The more, the sooner a connection gives way.
int Idleness(const ConnectionAccount& account) {
  if (!account.had_calls()) return 2;
  return account.has_calls() ? 0 : 1;
}

}  // namespace

bool OpenConnections::Handle::IsOpen() const { return InodeOf(fd) == inode; }

OpenConnections::~OpenConnections() {
  for (const Socket& one : sockets_) Forget(one);
}

void OpenConnections::Add(int fd, std::shared_ptr<ConnectionAccount> account) {
  // Another connection that had the descriptor is gone.
  std::erase_if(sockets_, [&](const Socket& one) {
    if (one.handle.fd == fd) Forget(one);
    return one.handle.fd == fd;
  });
  LookAtSome();
  // What may find no memory comes before anything is counted.
  std::string address = PeerAddressOf(account->name());
  if (sockets_.size() == sockets_.capacity()) sockets_.reserve(2 * sockets_.size() + 16);
  auto& count = counts_[address];
  SetAccount(fd, account);
  const ino_t inode = InodeOf(fd);
  account->KnowWaiting([fd, inode] { return BytesWait(fd, inode); });
  ++count;
  sockets_.push_back({{fd, inode}, std::move(address), std::move(account)});
}

// As many as come are looked at, and some more, so that those that are gone do not pile up.
void OpenConnections::LookAtSome() {
  constexpr int kSome = 4;
  for (int i = 0; i < kSome && !sockets_.empty(); ++i) {
    next_look_ = (next_look_ + 1) % sockets_.size();
    const auto one = sockets_.begin() + static_cast<std::ptrdiff_t>(next_look_);
    if (one->handle.IsOpen()) continue;
    Forget(*one);
    sockets_.erase(one);
  }
}

bool OpenConnections::Below(int64_t limit, absl::Time now) {
  if (at_most() < limit) return true;
  if (now < full_at_ + kLookAgain) return false;
  if (Count() < limit) return true;
  full_at_ = now;
  return false;
}

int64_t OpenConnections::Count() {
  std::erase_if(sockets_, [this](const Socket& one) {
    if (one.handle.IsOpen()) return false;
    Forget(one);
    return true;
  });
  return at_most();
}

int64_t OpenConnections::of_address(std::string_view address) const {
  const auto found = counts_.find(address);
  return found == counts_.end() ? 0 : found->second;
}

int64_t OpenConnections::without_calls() const {
  return std::count_if(sockets_.begin(), sockets_.end(),
                       [](const Socket& one) { return !one.account->had_calls(); });
}

bool OpenConnections::Break(std::string_view name) {
  const auto found = std::find_if(sockets_.begin(), sockets_.end(),
                                  [&](const Socket& one) { return one.account->name() == name; });
  if (found == sockets_.end()) return false;
  BreakAt(found);
  return true;
}

bool OpenConnections::MakeRoomFor(std::string_view address) {
  const auto most = std::max_element(
      counts_.begin(), counts_.end(),
      [](const auto& one, const auto& other) { return one.second < other.second; });
  if (most == counts_.end() || most->second <= of_address(address) + 1) return false;
  auto chosen = sockets_.end();
  for (auto one = sockets_.begin(); one != sockets_.end(); ++one) {
    if (one->address != most->first) continue;
    if (chosen == sockets_.end() || Idleness(*one->account) >= Idleness(*chosen->account)) {
      chosen = one;
    }
  }
  BreakAt(chosen);
  return true;
}

bool OpenConnections::BreakOneWithoutCalls() {
  Counts counts;
  for (const Socket& one : sockets_) {
    if (!one.account->had_calls()) ++counts[one.address];
  }
  const auto most = std::max_element(
      counts.begin(), counts.end(),
      [](const auto& one, const auto& other) { return one.second < other.second; });
  if (most == counts.end()) return false;
  BreakAt(std::find_if(sockets_.begin(), sockets_.end(), [&](const Socket& one) {
    return one.address == most->first && !one.account->had_calls();
  }));
  return true;
}

// gRPC may close its descriptor at any time, and the system use it again; ours stays with what it
// is for now.
void OpenConnections::Shutdown(const Handle& handle) {
  const OwnedFd own(fcntl(handle.fd, F_DUPFD_CLOEXEC, 0));
  if (own.get() >= 0 && InodeOf(own.get()) == handle.inode) shutdown(own.get(), SHUT_RDWR);
}

void OpenConnections::ReportClosedAgain() {
  std::erase_if(shut_down_, [](const Handle& one) { return !one.IsOpen(); });
  std::vector<Handle> all = shut_down_;
  for (const Socket& one : sockets_) all.push_back(one.handle);
  std::vector<pollfd> polled;
  polled.reserve(all.size());
  for (const Handle& one : all) polled.push_back({one.fd, 0, 0});
  if (poll(polled.data(), polled.size(), 0) <= 0) return;
  for (size_t i = 0; i < all.size(); ++i) {
    if ((polled[i].revents & (POLLHUP | POLLERR)) != 0) Shutdown(all[i]);
  }
}

void OpenConnections::BreakAt(std::vector<Socket>::iterator socket) {
  Shutdown(socket->handle);
  try {
    shut_down_.push_back(socket->handle);
  } catch (const std::bad_alloc&) {  // nothing else depends on it
  }
  Forget(*socket);
  sockets_.erase(socket);
}

void OpenConnections::Forget(const Socket& socket) {
  SetAccount(socket.handle.fd, nullptr);
  ledger_->Close(*socket.account);
  const auto count = counts_.find(socket.address);
  if (--count->second == 0) counts_.erase(count);
}

}  // namespace lossd
