#include "tests/fuzz/input.h"

#include <cstdio>
#include <cstdlib>

// c-ares, through which gRPC looks up host names, leaks some bytes per name (10 in 1.18.1).
extern "C" const char* __lsan_default_suppressions() { return "leak:libcares"; }

namespace lossd::fuzz {

void Require(bool held, absl::string_view words) {
  if (held) return;
  std::fprintf(stderr, "FINDING: %.*s\n", static_cast<int>(words.size()), words.data());
  std::abort();
}

}  // namespace lossd::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lossd::fuzz::TestOne({data, size});
  return 0;
}
