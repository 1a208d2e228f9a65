#include "tests/faults/raw_client.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace lossd {

using http2::Frame;

int ConnectTcp(const std::string& address) {
  const size_t colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (address.rfind("127.", 0) == 0) {
    sockaddr_in from{};
    from.sin_family = AF_INET;
    inet_pton(AF_INET, "127.0.0.2", &from.sin_addr);
    bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from);
  }
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    close(fd);
    return -1;
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

RawClient::RawClient(const std::string& address) : fd_(ConnectTcp(address)) {
  if (fd_ < 0) what_ = "refused";
}

RawClient::RawClient(RawClient&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)) {}

RawClient::~RawClient() {
  if (fd_ >= 0) close(fd_);
}

void RawClient::CloseWithReset() {
  const linger at_once{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(std::exchange(fd_, -1));
}

void RawClient::Greet(uint32_t window, bool ack) {
  Send(absl::StrCat(http2::kPreface, http2::Settings({{http2::kHeaderTableSize, 0},
                                                      {http2::kInitialWindowSize, window}})));
  while (ack) {
    const std::optional<Frame> frame = Read();
    if (!frame) return;
    if (frame->type != http2::kSettings || (frame->flags & http2::kAck) != 0) continue;
    Send(http2::Bytes(http2::kSettings, http2::kAck, 0, ""));
    return;
  }
}

bool RawClient::Send(absl::string_view bytes, int seconds) {
  while (!bytes.empty()) {
    pollfd writable{fd_, POLLOUT, 0};
    if (poll(&writable, 1, seconds * 1000) <= 0) return false;
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0) {
      what_ = "closed";
      return false;
    }
    bytes.remove_prefix(sent);
  }
  return true;
}

bool RawClient::Open(uint32_t stream, const std::string& path, const http2::Fields& more,
                     uint8_t flags) {
  http2::Fields fields = http2::CallFields(path);
  fields.insert(fields.end(), more.begin(), more.end());
  return Send(http2::Bytes(http2::kHeaders, flags, stream, http2::Literals(fields)));
}

bool RawClient::SendData(uint32_t stream, absl::string_view bytes, bool end) {
  constexpr size_t kMost = 16 << 10;
  do {
    const absl::string_view piece = bytes.substr(0, kMost);
    bytes.remove_prefix(piece.size());
    const bool last = end && bytes.empty();
    if (!Send(http2::Bytes(http2::kData, last ? http2::kEndStream : http2::kNone, stream, piece))) {
      return false;
    }
  } while (!bytes.empty());
  return true;
}

bool RawClient::Fill(double seconds) {
  pollfd readable{fd_, POLLIN, 0};
  if (fd_ < 0 || poll(&readable, 1, static_cast<int>(seconds * 1000)) <= 0) return false;
  char bytes[64 << 10];
  const ssize_t got = recv(fd_, bytes, sizeof bytes, 0);
  if (got <= 0) {
    if (what_.empty()) what_ = "closed";
    return false;
  }
  buffer_.append(bytes, got);
  return true;
}

std::optional<Frame> RawClient::Read(double seconds) {
  constexpr size_t kHeader = 9;
  const absl::Time until = absl::Now() + absl::Seconds(seconds);
  while (true) {
    const size_t length = buffer_.size() < kHeader
                              ? 0
                              : http2::NumberAt(std::string(1, '\0') + buffer_.substr(0, 3), 0);
    if (buffer_.size() >= kHeader + length) {
      Frame frame{static_cast<uint8_t>(buffer_[3]), static_cast<uint8_t>(buffer_[4]),
                  http2::NumberAt(buffer_, 5), buffer_.substr(kHeader, length)};
      buffer_.erase(0, kHeader + length);
      Note(frame);
      return frame;
    }
    const double left = std::max(0.0, absl::ToDoubleSeconds(until - absl::Now()));
    if (!Fill(left)) return std::nullopt;
  }
}

void RawClient::Note(const Frame& frame) {
  if (frame.type == http2::kReset) {
    resets_[frame.stream] = absl::StrCat("RST ", http2::NumberAt(frame.payload, 0));
  } else if (frame.type == http2::kGoAway) {
    what_ = absl::StrCat("GOAWAY ", http2::NumberAt(frame.payload, 4));
  } else if (frame.type == http2::kHeaders) {
    for (const auto& [name, value] : http2::ReadLiterals(frame.payload)) {
      if (name == "grpc-status") statuses_[frame.stream] = std::atoi(value.c_str());
      if (name == "grpc-message") message_ = value;
      if (name == "loss-reason") reason_ = value;
    }
  }
}

std::optional<int> RawClient::Status(uint32_t stream, double seconds) {
  const absl::Time until = absl::Now() + absl::Seconds(seconds);
  while (true) {
    if (const auto found = statuses_.find(stream); found != statuses_.end()) return found->second;
    if (const auto reset = resets_.find(stream); reset != resets_.end()) {
      what_ = reset->second;
      return std::nullopt;
    }
    const double left = absl::ToDoubleSeconds(until - absl::Now());
    if (left <= 0 || !Read(left)) return std::nullopt;
  }
}

bool RawClient::Ends(double seconds) {
  const absl::Time until = absl::Now() + absl::Seconds(seconds);
  while (true) {
    const double left = absl::ToDoubleSeconds(until - absl::Now());
    if (left <= 0) return false;
    if (!Read(left) && (what_ == "closed" || absl::Now() < until)) return true;
  }
}

}  // namespace lossd
