// The decoders against generated protobuf parsing, whatever the bytes, their form and their
// slicing.
//   input: kind, mode, seed (8 bytes), the message

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/fuzz/input.h"
#include "tests/support/random.h"
#include "tests/wire/agreement.h"
#include "tests/wire/kinds.h"
#include "tests/wire/mutator.h"

namespace lossd::fuzz {
namespace {

using wire_test::AllKinds;
using wire_test::Kind;

constexpr size_t kMaxBytes = 8 << 10;  // far from the limit on what stands beside the tensors

void Compare(const Kind& kind, const std::string& bytes, oracle::Random& random) {
  const wire_test::Agreement agreement = wire_test::Agree(kind, bytes, random);
  Require(agreement.difference.empty(), absl::StrCat(kind.name, ": ", agreement.difference));
}

}  // namespace

void TestOne(Input input) {
  if (input.left() > kMaxBytes) return;
  const Kind& kind = AllKinds()[input.Below(static_cast<int64_t>(AllKinds().size()))];
  const bool unusual = input.Flag();
  oracle::Random random(input.Number());
  const std::string bytes = input.Rest();
  Compare(kind, bytes, random);
  // Where it is a message, also in another form.
  if (unusual && kind.canonical(bytes)) {
    Compare(kind, wire_test::Unusual(bytes, *kind.type, random), random);
  }
}

}  // namespace lossd::fuzz
