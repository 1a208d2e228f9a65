#include "server/front/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;

class File {
 public:
  // Not blocking: a pipe nobody writes to would hold up the start for ever.
  explicit File(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& flag, const std::string& path) {
  const auto refused = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat(flag, " ", path, ": ", why));
  };
  const File file(path);
  struct stat about;
  if (file.fd() < 0 || fstat(file.fd(), &about) != 0) return refused(std::strerror(errno));
  if (!S_ISREG(about.st_mode)) return refused("not a regular file");
  std::string text(kMaxBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(file.fd(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refused(std::strerror(errno));
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > kMaxBytes) return refused("larger than 1 MiB");
  text.resize(size);
  return text;
}

}  // namespace lossd
