#include "client/shared_memory/region_connection.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"
#include "protos/wire/region_socket.h"

namespace lossd {
namespace {

// The server maps the memory meanwhile, which takes a second for each 10 GB and more.
constexpr timeval kPatience = {.tv_sec = 10, .tv_usec = 0};

absl::Status Lost() { return absl::UnavailableError("the server does not answer on its socket"); }

}  // namespace

absl::StatusOr<std::unique_ptr<RegionConnection>> RegionConnection::Share(const std::string& path,
                                                                          int descriptor) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return absl::UnavailableError("no descriptors are left");
  std::unique_ptr<RegionConnection> connection(new RegionConnection(socket));
  LOSSD_RETURN_IF_ERROR(connection->Connect(path));
  LOSSD_RETURN_IF_ERROR(connection->Send(descriptor));
  LOSSD_ASSIGN_OR_RETURN(const std::string token, connection->Receive());
  if (token.size() != connection->token_.size()) return Lost();
  std::copy(token.begin(), token.end(), connection->token_.begin());
  return connection;
}

RegionConnection::~RegionConnection() { close(socket_); }

absl::Status RegionConnection::Connect(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof(name.sun_path)) {
    return absl::InvalidArgumentError("the path of the socket is too long");
  }
  path.copy(name.sun_path, path.size());
  for (const int option : {SO_SNDTIMEO, SO_RCVTIMEO}) {
    setsockopt(socket_, SOL_SOCKET, option, &kPatience, sizeof(kPatience));
  }
  if (connect(socket_, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("no server shares memory on unix:", path, ": ",
                                             absl::ErrnoToStatus(errno, "").message()));
}

absl::Status RegionConnection::Send(int descriptor) {
  std::array<char, wire::kShareRequest.size()> request;
  std::copy(wire::kShareRequest.begin(), wire::kShareRequest.end(), request.begin());
  iovec bytes{request.data(), request.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(part), &descriptor, sizeof(descriptor));
  const ssize_t sent = sendmsg(socket_, &message, MSG_NOSIGNAL);
  // A server that has too many connections answers before it is asked.
  return sent == static_cast<ssize_t>(request.size()) || errno == EPIPE ? absl::OkStatus() : Lost();
}

bool RegionConnection::ReceiveAll(void* into, size_t size) {
  auto* at = static_cast<char*>(into);
  while (size > 0) {
    const ssize_t got = recv(socket_, at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    timed_out_ = got < 0 && errno == EAGAIN;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

absl::StatusOr<std::string> RegionConnection::Receive() {
  wire::RegionAnswer answer;
  if (!ReceiveAll(&answer, sizeof(answer)) || answer.bytes > wire::kMaxRegionAnswer) return Lost();
  std::string body(answer.bytes, '\0');
  if (!ReceiveAll(body.data(), body.size())) return Lost();
  if (answer.code == static_cast<uint32_t>(absl::StatusCode::kOk)) return body;
  return absl::Status(static_cast<absl::StatusCode>(answer.code), body);
}

void RegionConnection::End() const { shutdown(socket_, SHUT_RDWR); }

bool RegionConnection::WaitUntilQuiet() {
  const std::lock_guard lock(asking_);
  if (send(socket_, &wire::kAskWhenQuiet, 1, MSG_NOSIGNAL) != 1) return true;
  return Receive().ok() || !timed_out_;
}

}  // namespace lossd
