#ifndef LOSSD_TESTS_SUPPORT_TEMP_DIR_H_
#define LOSSD_TESTS_SUPPORT_TEMP_DIR_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace lossd {

// A directory of a test's own, removed with all its files at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  std::string Path(absl::string_view name) const;
  // Writes a file and returns its path.
  std::string Write(absl::string_view name, absl::string_view bytes) const;
  std::vector<std::string> FileNames() const;  // sorted

 private:
  std::string directory_;
};

std::string ReadWhole(const std::string& path);

}  // namespace lossd

#endif  // LOSSD_TESTS_SUPPORT_TEMP_DIR_H_
