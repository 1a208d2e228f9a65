#ifndef LOSSD_TESTS_FUZZ_MEMORY_FILE_H_
#define LOSSD_TESTS_FUZZ_MEMORY_FILE_H_

#include <string>

namespace lossd::fuzz {

// A regular file that is nowhere on a disk, with a path as long as it lives.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& bytes);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  int fd_;
  std::string path_;
};

}  // namespace lossd::fuzz

#endif  // LOSSD_TESTS_FUZZ_MEMORY_FILE_H_
