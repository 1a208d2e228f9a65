#include "tests/support/temp_dir.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace lossd {

TempDir::TempDir() : directory_(testing::TempDir() + "lossd.XXXXXX") {
  if (mkdtemp(directory_.data()) == nullptr) ADD_FAILURE() << "no directory like " << directory_;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string TempDir::Path(absl::string_view name) const {
  return absl::StrCat(directory_, "/", name);
}

std::string TempDir::Write(absl::string_view name, absl::string_view bytes) const {
  const std::string path = Path(name);
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  EXPECT_TRUE(file.good()) << path;
  return path;
}

std::vector<std::string> TempDir::FileNames() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace lossd
