#include "tests/fuzz/memory_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/input.h"

namespace lossd::fuzz {

MemoryFile::MemoryFile(const std::string& bytes)
    : fd_(memfd_create("input", MFD_CLOEXEC)), path_("/proc/self/fd/" + std::to_string(fd_)) {
  const auto size = static_cast<ssize_t>(bytes.size());
  Require(fd_ >= 0 && write(fd_, bytes.data(), bytes.size()) == size, "no file in memory");
}

MemoryFile::~MemoryFile() { close(fd_); }

}  // namespace lossd::fuzz
