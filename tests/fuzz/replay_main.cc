// Runs a fuzzer over files: a corpus, or an input that was found to fail.
//   request_fuzz FILE_OR_DIRECTORY...
// A file packed.hex holds many inputs (tests/fuzz/corpus.py).

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

// From memory of exactly its size, so that a sanitizer sees a read past its end.
void Replay(const std::string& name, const std::string& bytes) {
  const auto exact = std::make_unique<uint8_t[]>(bytes.size());
  if (!bytes.empty()) std::memcpy(exact.get(), bytes.data(), bytes.size());
  std::fprintf(stderr, "%s\n", name.c_str());  // the last one named is the one that failed
  LLVMFuzzerTestOneInput(exact.get(), bytes.size());
}

[[noreturn]] void Die(const std::string& words) {
  std::fprintf(stderr, "%s\n", words.c_str());
  std::exit(1);
}

// An input a line, after a line that says how many there are. Returns that number.
size_t ReplayPacked(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string head;
  std::getline(file, head);
  size_t count = 0;
  for (std::string line; std::getline(file, line);) {
    const std::string name = absl::StrCat(path.string(), ":", ++count + 1);
    const std::string bytes = absl::HexStringToBytes(line);
    if (absl::BytesToHexString(bytes) != line) Die(name + ": wanted bytes in hexadecimal");
    Replay(name, bytes);
  }
  const std::string wanted = absl::StrCat("# ", count, " inputs");
  if (count == 0 || head != wanted) {
    Die(absl::StrCat(path.string(), ":1: \"", head, "\" before ", count, " inputs"));
  }
  return count;
}

size_t ReplayFile(const std::filesystem::path& path) {
  if (path.filename() == "packed.hex") return ReplayPacked(path);
  std::ifstream file(path, std::ios::binary);
  Replay(path.string(), {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  size_t replayed = 0;
  for (const auto& file : files) replayed += ReplayFile(file);
  std::printf("%zu inputs replayed\n", replayed);
  return replayed == 0 ? 1 : 0;
}
