#include "core/files/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;

class File {
 public:
  // Not blocking: a pipe without a writer would hold up the start for ever.
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

absl::Status CannotUse(const NamedFile& file, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(file.option, " ", file.path, ": ", why));
}

absl::StatusOr<std::string> ReadTextFile(const NamedFile& file) {
  const File opened(file.path);
  struct stat about;
  if (opened.fd() < 0 || fstat(opened.fd(), &about) != 0) {
    return CannotUse(file, std::strerror(errno));
  }
  if (!S_ISREG(about.st_mode)) return CannotUse(file, "not a regular file");
  std::string text;
  char buffer[4096];
  while (true) {
    const ssize_t got = read(opened.fd(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return CannotUse(file, std::strerror(errno));
    if (got == 0) return text;
    text.append(buffer, got);
    if (text.size() > kMaxBytes) return CannotUse(file, "larger than 1 MiB");
  }
}

}  // namespace lossd
