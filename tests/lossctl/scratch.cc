#include "tests/lossctl/scratch.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace lossd::lossctl {

Scratch::Scratch() : directory_(testing::TempDir() + "lossctl.XXXXXX") {
  if (mkdtemp(directory_.data()) == nullptr) ADD_FAILURE() << "no directory like " << directory_;
}

Scratch::~Scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string Scratch::Path(absl::string_view name) const {
  return absl::StrCat(directory_, "/", name);
}

std::string Scratch::Write(absl::string_view name, absl::string_view bytes) const {
  const std::string path = Path(name);
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  EXPECT_TRUE(file.good()) << path;
  return path;
}

std::vector<std::string> Scratch::FileNames() const {
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

std::string NpyBytes(int major, absl::string_view dict, absl::string_view data) {
  const size_t length_size = major == 1 ? 2 : 4;
  std::string text(dict);
  while ((8 + length_size + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  std::string file = "\x93NUMPY";
  file += static_cast<char>(major);
  file += '\0';
  for (size_t i = 0; i < length_size; ++i) file += static_cast<char>(text.size() >> (8 * i));
  return absl::StrCat(file, text, data);
}

std::string NpyBytes(absl::string_view descr, absl::string_view shape, absl::string_view data,
                     bool fortran_order) {
  return NpyBytes(1,
                  absl::StrCat("{'descr': '", descr, "', 'fortran_order': ",
                               fortran_order ? "True" : "False", ", 'shape': ", shape, ", }"),
                  data);
}

}  // namespace lossd::lossctl
