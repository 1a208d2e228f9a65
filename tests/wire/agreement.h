#ifndef LOSSD_TESTS_WIRE_AGREEMENT_H_
#define LOSSD_TESTS_WIRE_AGREEMENT_H_

#include <string>

#include "tests/support/random.h"
#include "tests/wire/kinds.h"

namespace lossd::wire_test {

enum class Verdict {
  kAccepted,
  kAcceptedUnusual,  // by way of the ordinary parsing
  kRefused,          // valid protobuf, refused by our checks
  kInvalid,          // no protobuf
};

struct Agreement {
  Verdict verdict;         // of our decoder
  std::string difference;  // what generated code says otherwise; empty: nothing
};

// Decodes `bytes`, randomly sliced, and compares with what generated code makes of them: both take
// them or neither does, and encoding again gives the same bytes.
Agreement Agree(const Kind& kind, const std::string& bytes, oracle::Random& random);

}  // namespace lossd::wire_test

#endif  // LOSSD_TESTS_WIRE_AGREEMENT_H_
