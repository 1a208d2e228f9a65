#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "client/npy/npy.h"
#include "client/npy/npy_header.h"
#include "lossd/status_macros.h"

namespace lossd::npy {
namespace {

absl::Status SystemError(const std::string& path, const char* what) {
  return absl::ErrnoToStatus(errno, absl::StrCat(path, ": ", what));
}

enum class Kind { kRegular, kMissing, kDirectory, kOther };

Kind KindOf(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return Kind::kMissing;
  if (S_ISREG(info.st_mode)) return Kind::kRegular;
  return S_ISDIR(info.st_mode) ? Kind::kDirectory : Kind::kOther;
}

// Where a file that exists really is, so that a rename replaces it and not a link to it.
std::string Resolved(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) == nullptr ? path : std::string(resolved);
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status WriteAll(int file, const std::string& path, ByteSpan bytes) {
  constexpr size_t kAtMost = 1 << 30;  // Linux writes no more than 2 GiB at once
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), std::min(bytes.size(), kAtMost));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError(path, "cannot be written");
    bytes.remove_prefix(written);
  }
  return absl::OkStatus();
}

absl::Status WriteTensor(int file, const std::string& path, const TensorView& tensor) {
  const std::string header = FormatHeader(tensor.desc);
  LOSSD_RETURN_IF_ERROR(
      WriteAll(file, path, {reinterpret_cast<const std::byte*>(header.data()), header.size()}));
  return WriteAll(file, path, tensor.bytes);
}

absl::Status WriteInto(const std::string& path, const TensorView& tensor) {
  const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return SystemError(path, "cannot be opened for writing");
  const absl::Cleanup close_file = [file] { close(file); };
  return WriteTensor(file, path, tensor);
}

absl::Status Replace(const std::string& path, const TensorView& tensor) {
  const std::string target = Resolved(path);
  std::string beside;
  int file = -1;
  for (int attempt = 0; file < 0 && attempt < 100; ++attempt) {
    beside = absl::StrCat(target, ".", getpid(), ".", attempt, ".tmp");
    file = open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0 && errno != EEXIST) break;
  }
  if (file < 0) return SystemError(path, "cannot be created");
  absl::Cleanup remove_file = [&beside] { unlink(beside.c_str()); };
  absl::Status status = WriteTensor(file, path, tensor);
  // Some file systems report a full disk only here.
  if (close(file) != 0 && status.ok()) status = SystemError(path, "cannot be written");
  LOSSD_RETURN_IF_ERROR(status);
  if (rename(beside.c_str(), target.c_str()) != 0) return SystemError(path, "cannot be replaced");
  std::move(remove_file).Cancel();
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckWritable(const std::string& path) {
  const Kind kind = KindOf(path);
  if (kind == Kind::kDirectory) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a directory; wanted a file"));
  }
  if (kind == Kind::kOther) {
    return access(path.c_str(), W_OK) == 0 ? absl::OkStatus()
                                           : SystemError(path, "cannot be written");
  }
  const std::string directory = DirectoryOf(kind == Kind::kRegular ? Resolved(path) : path);
  if (path.empty() || path.back() == '/') {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' is not the name of a file"));
  }
  if (access(directory.c_str(), W_OK | X_OK) != 0) return SystemError(path, "cannot be created");
  return absl::OkStatus();
}

absl::Status WriteNpy(const std::string& path, const TensorView& tensor) {
  if (ByteCount(tensor.desc) != static_cast<int64_t>(tensor.bytes.size())) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", tensor.bytes.size(),
                                                   " bytes given for a tensor of shape ",
                                                   ShapeString(tensor.desc.shape)));
  }
  return KindOf(path) == Kind::kOther ? WriteInto(path, tensor) : Replace(path, tensor);
}

}  // namespace lossd::npy
