#include "server/front/open_connections.h"

#include <sys/stat.h>

namespace lossd {
namespace {

ino_t InodeOf(int fd) {
  struct stat about;
  return fstat(fd, &about) == 0 ? about.st_ino : 0;
}

}  // namespace

void OpenConnections::Add(int fd) { sockets_.push_back({fd, InodeOf(fd)}); }

bool OpenConnections::Below(int64_t limit, absl::Time now) {
  if (static_cast<int64_t>(sockets_.size()) < limit) return true;
  if (now < full_at_ + kLookAgain) return false;
  if (Count() < limit) return true;
  full_at_ = now;
  return false;
}

int64_t OpenConnections::Count() {
  std::erase_if(sockets_, [](const Socket& one) { return InodeOf(one.fd) != one.inode; });
  return static_cast<int64_t>(sockets_.size());
}

}  // namespace lossd
