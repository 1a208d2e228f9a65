// Writes golden messages as inputs of request_fuzz, from which its corpus grows.
//   request_seeds DIRECTORY

#include <cstdio>
#include <fstream>
#include <string>

#include "tests/support/random.h"
#include "tests/wire/kinds.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "request_seeds: wanted one argument, the directory to write to\n");
    return 2;
  }
  constexpr size_t kMaxBytes = 400;
  constexpr int kPerKind = 3;
  lossd::oracle::Random random(1);
  const auto& kinds = lossd::wire_test::AllKinds();
  for (size_t kind = 0; kind < kinds.size(); ++kind) {
    for (int i = 0; i < kPerKind;) {
      const std::string message = kinds[kind].sample(random);
      if (message.size() > kMaxBytes) continue;
      std::string input = {static_cast<char>(kind), static_cast<char>(i)};
      input += std::string(8, static_cast<char>(i)) + message;
      std::ofstream(std::string(argv[1]) + "/golden-" + kinds[kind].name + std::to_string(i++))
          << input;
    }
  }
  return 0;
}
