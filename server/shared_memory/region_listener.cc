#include "server/shared_memory/region_listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"
#include "protos/wire/region_socket.h"

namespace lossd {
namespace {

// How often a region is looked at whose client asks when it is quiet.
constexpr int kLookAgainMs = 2;

// After accept() has failed for want of descriptors.
constexpr Interval kPause = std::chrono::milliseconds(100);

// References to a region that no call uses: its connection's and the table's.
constexpr int64_t kQuietReferences = 2;

// What came in one read; at most one descriptor, for there is room for no more.
struct Said {
  std::array<char, 64> room;
  std::string_view text;
  OwnedFd descriptor = {};
};

enum class Reading : int8_t { kNothing, kSomething, kEnd };

Reading ReadSome(int fd, Said& said) {
  iovec bytes{said.room.data(), said.room.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_LEN(sizeof(int));  // the kernel closes what has no room
  const ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return errno == EAGAIN || errno == EINTR ? Reading::kNothing : Reading::kEnd;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(part), sizeof(descriptor));
    said.descriptor = OwnedFd(descriptor);
  }
  if (got == 0 || (message.msg_flags & MSG_CTRUNC) != 0) return Reading::kEnd;
  said.text = {said.room.data(), static_cast<size_t>(got)};
  return Reading::kSomething;
}

// False: the client does not read its answers.
bool Answer(int fd, absl::StatusCode code, std::string_view body) {
  body = body.substr(0, wire::kMaxRegionAnswer);
  const wire::RegionAnswer head = {static_cast<uint32_t>(code), static_cast<uint32_t>(body.size())};
  std::string answer(sizeof(head), '\0');
  std::memcpy(answer.data(), &head, sizeof(head));
  answer.append(body);
  const ssize_t sent = send(fd, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent == static_cast<ssize_t>(answer.size());
}

void Refuse(int fd, const absl::Status& why) {
  Answer(fd, why.code(), {why.message().data(), why.message().size()});
}

// The process at the other end; nullopt: it is of another user.
std::optional<pid_t> ProcessOf(int fd) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  if (peer.uid != geteuid()) return std::nullopt;
  return peer.pid;
}

}  // namespace

RegionLimits RegionLimits::Of(int64_t memory_budget) {
  RegionLimits limits;
  limits.bytes = memory_budget / 2;
  limits.bytes_per_peer = limits.bytes / 4 * 3;
  return limits;
}

absl::StatusOr<std::unique_ptr<RegionListener>> RegionListener::Start(
    std::vector<ListenSocket> sockets, const RegionLimits& limits, RegionTable* table,
    ByteBudget* budget) {
  std::unique_ptr<RegionListener> listener(
      new RegionListener(std::move(sockets), limits, table, budget));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::UnavailableError("no descriptors are left");
  listener->stop_read_ = OwnedFd(ends[0]);
  listener->stop_write_ = OwnedFd(ends[1]);
  listener->thread_ = std::thread([raw = listener.get()] { raw->Run(); });
  return listener;
}

RegionListener::~RegionListener() {
  { const OwnedFd closed = std::move(stop_write_); }
  if (thread_.joinable()) thread_.join();
  while (!connections_.empty()) End(connections_.begin());
}

void RegionListener::Run() {
  while (Turn()) {
  }
}

int RegionListener::TimeoutMs(Instant now) const {
  Instant until = std::max(now, pause_until_);
  int timeout = pause_until_ > now ? 1 : -1;
  for (const Connection& connection : connections_) {
    if (connection.asks_when_quiet) return kLookAgainMs;
    if (connection.region != nullptr) continue;
    until = timeout < 0 ? connection.until : std::min(until, connection.until);
    timeout = 1;
  }
  if (timeout < 0) return timeout;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
  return static_cast<int>(std::max<int64_t>(left, 0));
}

bool RegionListener::Turn() {
  Instant now = std::chrono::steady_clock::now();
  const short accepts = now < pause_until_ ? 0 : POLLIN;
  polled_.assign(1, {stop_read_.get(), 0, 0});
  for (const ListenSocket& socket : sockets_) polled_.push_back({socket.fd(), accepts, 0});
  for (const Connection& connection : connections_) {
    polled_.push_back({connection.fd.get(), POLLIN, 0});
  }
  if (poll(polled_.data(), polled_.size(), TimeoutMs(now)) < 0) return errno == EINTR;
  if (polled_[0].revents != 0) return false;
  now = std::chrono::steady_clock::now();
  auto polled = polled_.begin() + 1 + static_cast<ptrdiff_t>(sockets_.size());
  for (auto connection = connections_.begin(); connection != connections_.end();) {
    const auto here = connection++;
    bool goes_on = polled->revents == 0 || Read(*here);
    if (here->region == nullptr) goes_on &= now < here->until;
    if (!goes_on || !AnswerIfQuiet(*here)) End(here);
    ++polled;
  }
  for (size_t i = 0; i < sockets_.size(); ++i) {
    if (polled_[1 + i].revents != 0) AcceptAll(sockets_[i].fd(), now);
  }
  return true;
}

void RegionListener::AcceptAll(int listener, Instant now) {
  while (true) {
    OwnedFd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd.get() >= 0) {
      Accept(std::move(fd), now);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN) pause_until_ = now + kPause;
    return;
  }
}

void RegionListener::Accept(OwnedFd fd, Instant now) {
  const std::optional<pid_t> process = ProcessOf(fd.get());
  if (!process) {
    return Refuse(fd.get(), absl::PermissionDeniedError("only the server's own user may share"));
  }
  const auto of_process = [&](const Connection& other) { return other.process == *process; };
  const auto of_peer = std::count_if(connections_.begin(), connections_.end(), of_process);
  if (static_cast<int64_t>(connections_.size()) >= limits_.regions ||
      of_peer >= limits_.regions_per_peer) {
    return Refuse(fd.get(), absl::ResourceExhaustedError(absl::StrCat(
                                "wanted at most ", limits_.regions, " regions of all processes, ",
                                limits_.regions_per_peer, " of one")));
  }
  std::shared_ptr<SharedAmount>& peer = peers_[*process];
  if (peer == nullptr) peer = std::make_shared<SharedAmount>();
  connections_.push_back(Connection{
      .fd = std::move(fd), .process = *process, .peer = peer, .until = now + limits_.patience});
}

bool RegionListener::Read(Connection& connection) {
  Said said;
  switch (ReadSome(connection.fd.get(), said)) {
    case Reading::kNothing:
      return true;
    case Reading::kEnd:
      return false;
    case Reading::kSomething:
      break;
  }
  if (said.descriptor.get() >= 0) {
    if (connection.memory.get() >= 0 || connection.region != nullptr) return false;
    connection.memory = std::move(said.descriptor);
  }
  if (connection.region == nullptr) return TakeRequest(connection, said.text);
  connection.asks_when_quiet = true;
  return said.text.find_first_not_of(wire::kAskWhenQuiet) == std::string_view::npos;
}

bool RegionListener::TakeRequest(Connection& connection, std::string_view said) {
  const std::string_view wanted = wire::kShareRequest.substr(connection.said);
  if (!wanted.starts_with(said)) return false;
  connection.said += said.size();
  if (connection.said < wire::kShareRequest.size()) return true;
  absl::Status shared;
  try {
    shared = Share(connection);
  } catch (const std::bad_alloc&) {
    shared = absl::UnavailableError("no memory is left");
  }
  connection.memory = OwnedFd();
  if (!shared.ok()) {
    Refuse(connection.fd.get(), shared);
    return false;
  }
  return Answer(connection.fd.get(), absl::StatusCode::kOk,
                {reinterpret_cast<const char*>(connection.token.data()), connection.token.size()});
}

absl::Status RegionListener::Share(Connection& connection) {
  const int memory = connection.memory.get();
  if (memory < 0) return absl::InvalidArgumentError("the request came without a descriptor");
  LOSSD_ASSIGN_OR_RETURN(const SharedRegion::Facts facts, SharedRegion::Inspect(memory));
  LOSSD_RETURN_IF_ERROR(CheckLimits(connection, facts.bytes));
  LOSSD_ASSIGN_OR_RETURN(ByteBudget::Grant grant,
                         budget_->TakeNow({.peer = connection.peer.get(), .bytes = facts.bytes}));
  LOSSD_ASSIGN_OR_RETURN(std::shared_ptr<const SharedRegion> region,
                         SharedRegion::Map(memory, facts, std::move(grant),
                                           std::make_unique<SharedCount>(
                                               table_->amount(), connection.peer, facts.bytes)));
  LOSSD_ASSIGN_OR_RETURN(connection.token, table_->Add(region));
  connection.region = std::move(region);
  return absl::OkStatus();
}

// Regions whose connection has ended count until no call uses them.
absl::Status RegionListener::CheckLimits(const Connection& connection, int64_t bytes) const {
  const SharedAmount& all = *table_->amount();
  const SharedAmount& peer = *connection.peer;
  if (bytes > limits_.bytes_per_peer - peer.bytes || bytes > limits_.bytes - all.bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the memory is ", bytes, " bytes; wanted at most ", limits_.bytes, " of all processes, ",
        limits_.bytes_per_peer, " of one (halves of --memory-budget)"));
  }
  if (all.regions >= limits_.regions || peer.regions >= limits_.regions_per_peer) {
    return absl::ResourceExhaustedError("calls still use too many regions that were given up");
  }
  return absl::OkStatus();
}

bool RegionListener::AnswerIfQuiet(Connection& connection) {
  if (!connection.asks_when_quiet || connection.region.use_count() > kQuietReferences) return true;
  // What calls wrote to the region comes before the answer.
  std::atomic_thread_fence(std::memory_order_acquire);
  connection.asks_when_quiet = false;
  return Answer(connection.fd.get(), absl::StatusCode::kOk, "");
}

void RegionListener::End(Connections::iterator connection) {
  if (connection->region != nullptr) table_->Remove(connection->token);
  connections_.erase(connection);
  std::erase_if(peers_, [](const auto& peer) { return peer.second.use_count() == 1; });
}

}  // namespace lossd
