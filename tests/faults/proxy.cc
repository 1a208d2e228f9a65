#include "tests/faults/proxy.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/raw_client.h"

namespace lossd {
namespace {

constexpr int64_t kMostQueued = 1 << 20;  // of one direction, so that flow control reaches through
constexpr int kTickMs = 1;

void CloseWithReset(int fd) {
  const linger at_once{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(fd);
}

}  // namespace

Proxy::Proxy(const std::string& to, const ProxyFaults& faults)
    : to_(to), faults_(faults), random_(faults.seed) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof any;
  bind(listener_, reinterpret_cast<const sockaddr*>(&any), size);
  listen(listener_, 64);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&any), &size);
  address_ = absl::StrCat("127.0.0.1:", ntohs(any.sin_port));
  thread_ = std::thread([this] { Run(); });
}

Proxy::~Proxy() {
  stop_ = true;
  thread_.join();
  for (Link& link : links_) Drop(link);
  close(listener_);
}

void Proxy::Drop(Link& link) {
  CloseWithReset(link.up.from);
  CloseWithReset(link.up.to);
}

void Proxy::Accept() {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  const int server = ConnectTcp(to_);
  if (server < 0) return CloseWithReset(client);
  const int on = 1;
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const bool faulty = connections_++ < faults_.faulty_connections;
  const auto at = [faulty](int64_t byte) { return faulty ? byte : -1; };
  links_.push_back({.up = {.from = client,
                           .to = server,
                           .reset_at = at(faults_.reset_up_at),
                           .flip_at = at(faults_.flip_up_at),
                           .stall_at = at(faults_.stall_up_at)},
                    .down = {.from = server,
                             .to = client,
                             .reset_at = at(faults_.reset_down_at),
                             .flip_at = at(faults_.flip_down_at),
                             .stall_at = at(faults_.stall_down_at)}});
}

bool Proxy::Take(Way& way, std::atomic<int64_t>& count) {
  if (way.ended || way.stalled() || way.queued >= kMostQueued) return true;
  char bytes[64 << 10];
  size_t most = sizeof bytes;
  for (const int64_t stop : {way.reset_at, way.stall_at}) {
    if (stop > way.seen) most = std::min<size_t>(most, stop - way.seen);
  }
  const ssize_t got = recv(way.from, bytes, most, MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  way.ended = got == 0;
  if (way.flip_at >= way.seen && way.flip_at < way.seen + got) bytes[way.flip_at - way.seen] ^= 1;
  const absl::Time due = absl::Now() + faults_.delay;
  way.pieces.push_back({due, std::string(bytes, got)});
  way.seen += got;
  way.queued += got;
  count += got;
  return true;
}

bool Proxy::Give(Way& way, absl::Time now) {
  while (!way.pieces.empty() && way.pieces.front().due <= now) {
    std::string& bytes = way.pieces.front().bytes;
    // Pieces that are due together go together.
    for (auto next = std::next(way.pieces.begin()); next != way.pieces.end() && next->due <= now;
         next = way.pieces.erase(next)) {
      bytes += next->bytes;
    }
    const size_t most = 1 + random_.Below(faults_.max_segment);
    const ssize_t sent =
        send(way.to, bytes.data(), std::min(bytes.size(), most), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (sent < 0) return false;
    bytes.erase(0, sent);
    way.queued -= sent;
    if (bytes.empty()) way.pieces.pop_front();
  }
  if (way.reset_at >= 0 && way.seen >= way.reset_at && way.pieces.empty()) return false;
  if (way.ended && way.pieces.empty() && !way.closed) {
    way.closed = true;
    shutdown(way.to, SHUT_WR);
  }
  return true;
}

void Proxy::Run() {
  while (!stop_) {
    std::vector<pollfd> fds = {{listener_, POLLIN, 0}};
    for (const Link& link : links_) {
      for (const Way* way : {&link.up, &link.down}) {
        const bool wanted = !way->ended && !way->stalled() && way->queued < kMostQueued;
        fds.push_back({wanted ? way->from : -1, POLLIN, 0});
      }
    }
    poll(fds.data(), fds.size(), kTickMs);
    if ((fds[0].revents & POLLIN) != 0) Accept();
    const absl::Time now = absl::Now();
    for (auto link = links_.begin(); link != links_.end();) {
      const bool lives = Take(link->up, up_) && Take(link->down, down_) && Give(link->up, now) &&
                         Give(link->down, now) && !(link->up.closed && link->down.closed);
      if (!lives) Drop(*link);
      link = lives ? std::next(link) : links_.erase(link);
    }
  }
}

}  // namespace lossd
