#include "tests/server/raw_region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace lossd::testing {

RawMemory::RawMemory(int64_t bytes, int seals, unsigned flags)
    : descriptor_(memfd_create("test", MFD_ALLOW_SEALING | MFD_CLOEXEC | flags)), bytes_(bytes) {
  if (descriptor_ < 0 || ftruncate(descriptor_, bytes) != 0) return;
  if (bytes > 0) {
    void* const data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
    if (data != MAP_FAILED) data_ = static_cast<std::byte*>(data);
  }
  fcntl(descriptor_, F_ADD_SEALS, seals);
}

RawMemory::~RawMemory() {
  if (data_ != nullptr) munmap(data_, bytes_);
  if (descriptor_ >= 0) close(descriptor_);
}

RawRegion::RawRegion(const std::string& path)
    : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof(name.sun_path) - 1);
  connect(socket_, reinterpret_cast<const sockaddr*>(&name), sizeof(name));
}

RawRegion::~RawRegion() { close(socket_); }

bool RawRegion::Send(const std::string& text, const std::vector<int>& descriptors) {
  iovec bytes{const_cast<char*>(text.data()), text.size()};
  const size_t size = descriptors.size() * sizeof(int);
  std::vector<std::byte> control(CMSG_SPACE(size));
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(part), descriptors.data(), size);
  }
  return sendmsg(socket_, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

std::optional<RawRegion::Answer> RawRegion::Receive() {
  uint32_t head[2];
  if (recv(socket_, head, sizeof(head), MSG_WAITALL) != sizeof(head)) return std::nullopt;
  Answer answer{static_cast<absl::StatusCode>(head[0]), std::string(head[1], '\0')};
  if (head[1] == 0) return answer;
  const ssize_t got = recv(socket_, answer.body.data(), head[1], MSG_WAITALL);
  if (got != static_cast<ssize_t>(head[1])) return std::nullopt;
  return answer;
}

RawRegion::Answer RawRegion::Share(const RawMemory& memory) {
  Send("lossdSM1", {memory.descriptor()});
  return Receive().value_or(Answer{absl::StatusCode::kUnavailable, "closed"});
}

}  // namespace lossd::testing
