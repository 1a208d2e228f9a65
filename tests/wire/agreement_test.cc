// What the codec decodes is what generated code parses, whatever the form and the slicing of the
// message. "Equal" is equality of the bytes that come of encoding it again.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/random.h"
#include "tests/wire/agreement.h"
#include "tests/wire/kinds.h"
#include "tests/wire/mutator.h"
#include "tests/wire/slicing.h"

namespace lossd::wire_test {
namespace {

using oracle::Random;

// How the codec answered over a test, so that a test of nothing shows.
struct Tally {
  int accepted = 0;  // of these
  int unusual = 0;   // took the ordinary parsing path
  int refused = 0;   // valid protobuf, refused by our checks
  int invalid = 0;   // no protobuf
};

std::string Hex(const std::string& bytes) {
  std::string hex;
  for (const char byte : bytes.substr(0, 2000)) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += {kDigits[(byte >> 4) & 15], kDigits[byte & 15]};
  }
  return hex;
}

class AgreementTest : public testing::TestWithParam<Kind> {
 protected:
  void Check(const std::string& bytes, Random& random, Tally& tally) {
    const Agreement agreement = Agree(GetParam(), bytes, random);
    Count(agreement.verdict, tally);
    if (agreement.difference.empty()) return;
    ADD_FAILURE() << agreement.difference << "\nLOSSD_TEST_SEED=" << oracle::TestSeed()
                  << " message " << Hex(bytes);
  }

  // Unknown fields in every message would leave no requests that are accepted.
  static bool HasUnknown(int i) {
    return i % 4 == 0 || GetParam().invalid == absl::StatusCode::kInternal;
  }

 private:
  static void Count(Verdict verdict, Tally& tally) {
    tally.accepted += verdict == Verdict::kAccepted || verdict == Verdict::kAcceptedUnusual;
    tally.unusual += verdict == Verdict::kAcceptedUnusual;
    tally.refused += verdict == Verdict::kRefused;
    tally.invalid += verdict == Verdict::kInvalid;
  }
};

TEST_P(AgreementTest, RandomMessages) {
  Random random(1);
  Tally tally;
  for (int i = 0; i < 2000; ++i) {
    const std::string bytes = GetParam().sample(random);
    Check(bytes, random, tally);
    if (HasFailure()) return;
  }
  EXPECT_EQ(tally.accepted, 2000);
  EXPECT_EQ(tally.unusual, 0);
}

TEST_P(AgreementTest, UnusualForms) {
  Random random(2);
  Tally tally;
  for (int i = 0; i < 3000; ++i) {
    const std::string bytes =
        Unusual(GetParam().sample(random), *GetParam().type, random, 5, HasUnknown(i));
    Check(bytes, random, tally);
    if (HasFailure()) return;
  }
  EXPECT_EQ(tally.invalid, 0);
  EXPECT_GT(tally.accepted, 1500);
  // A summary has no large fields, so nothing in it is followed.
  if (GetParam().name != "Summary") {
    EXPECT_GT(tally.unusual, 150);
  }
}

// A message that merges nothing into what a sample of that kind has, but makes it unusual.
std::string AgainButEmpty(const std::string& kind) {
  const char tag = kind == "SideData" || kind == "Summary" ? 2 : kind == "Block" ? 3 : 1;
  return {static_cast<char>(tag << 3 | 2), '\0'};
}

// An unknown field of a request is refused, wherever it is; an answer is read without it. The same
// of messages of usual and of unusual form.
TEST_P(AgreementTest, UnknownFields) {
  Random random(10);
  const bool answer = GetParam().invalid == absl::StatusCode::kInternal;
  std::set<std::string> messages;
  for (int i = 0; i < 2000; ++i) {
    const WithUnknown with = AddUnknown(GetParam().sample(random), *GetParam().type, random);
    messages.insert(with.message);
    Tally tally;
    for (const std::string& bytes : {with.bytes, with.bytes + AgainButEmpty(GetParam().name)}) {
      Check(bytes, random, tally);
      if (HasFailure()) return;
      if (answer) continue;
      const absl::Status status = GetParam().recode(RandomlySliced(bytes, random)).status();
      EXPECT_EQ(status,
                absl::UnimplementedError(absl::StrCat(with.message, " has the field ", with.number,
                                                      ", which this server does not know")));
    }
    EXPECT_EQ(answer ? tally.refused : tally.accepted, 0);
    if (HasFailure()) return;
  }
  const size_t wanted = GetParam().name == "Header" ? 9 : GetParam().name == "Request" ? 6 : 2;
  EXPECT_GE(messages.size(), wanted);
}

// Tags and lengths of up to ten bytes: five are the most that protobuf takes.
TEST_P(AgreementTest, OverlongVarints) {
  Random random(9);
  Tally tally;
  for (int i = 0; i < 3000; ++i) {
    Check(Unusual(GetParam().sample(random), *GetParam().type, random, 10, HasUnknown(i)), random,
          tally);
    if (HasFailure()) return;
  }
  EXPECT_GT(tally.invalid, 250);
  EXPECT_GT(tally.accepted, 500);
}

// Messages one after the other are one message: fields merge, and members of a oneof replace each
// other, which forgets what the first one held.
TEST_P(AgreementTest, MessagesMerge) {
  Random random(3);
  Tally tally;
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = GetParam().sample(random);
    for (int64_t more = 1 + random.Below(3); more > 0; --more) {
      const Kind& other = AllKinds()[random.Below(static_cast<int64_t>(AllKinds().size()))];
      if (other.type != GetParam().type) continue;
      bytes += WithoutSome(other.sample(random), *other.type, random);
    }
    Check(bytes, random, tally);
    if (HasFailure()) return;
  }
  EXPECT_EQ(tally.invalid, 0);
  EXPECT_GT(tally.accepted, 250);
}

TEST_P(AgreementTest, TruncatedAnywhere) {
  Random random(4);
  Tally tally;
  for (int i = 0; i < 10; ++i) {
    std::string bytes = GetParam().sample(random);
    if (i % 2 == 1) bytes = Unusual(bytes, *GetParam().type, random);
    for (size_t size = 0; size < bytes.size(); ++size) {
      Check(bytes.substr(0, size), random, tally);
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(tally.invalid, 100);
}

TEST_P(AgreementTest, FlippedBytes) {
  Random random(5);
  Tally tally;
  for (int i = 0; i < 10000; ++i) {
    std::string bytes = GetParam().sample(random);
    if (random.OneIn(4)) bytes = Unusual(bytes, *GetParam().type, random);
    // Most of the structure is at the front.
    const auto size = static_cast<int64_t>(bytes.size());
    for (int64_t flips = 1 + random.Below(3); flips > 0; --flips) {
      const int64_t at = random.Below(random.OneIn(2) ? std::min<int64_t>(size, 40) : size);
      bytes[at] =
          static_cast<char>(random.OneIn(2) ? bytes[at] ^ (1 << random.Below(8)) : random.Next());
    }
    Check(bytes, random, tally);
    if (HasFailure()) return;
  }
  EXPECT_GT(tally.invalid, 500);
  EXPECT_GT(tally.accepted, 500);
}

TEST_P(AgreementTest, Noise) {
  Random random(6);
  Tally tally;
  for (int i = 0; i < 8000; ++i) {
    std::string bytes(random.Below(24), '\0');
    // Small numbers are plausible tags and lengths.
    for (char& byte : bytes) {
      byte = static_cast<char>(random.OneIn(3) ? random.Next() : random.Below(64));
    }
    Check(bytes, random, tally);
    if (HasFailure()) return;
  }
  EXPECT_GT(tally.invalid, 1000);
}

// Groups and messages within groups, around the depth at which protobuf gives up.
TEST_P(AgreementTest, DeepGroups) {
  Random random(7);
  Tally tally;
  for (int depth = 80; depth < 120; ++depth) {
    const std::string groups = std::string(depth, '\x7b') + std::string(depth, '\x7c');
    Check(groups, random, tally);
    Check(GetParam().sample(random) + groups, random, tally);
    // Inside the first nested message, too.
    for (const char number : {1, 2, 3, 7}) {
      std::string nested(1, static_cast<char>(number << 3 | 2));
      nested.push_back(static_cast<char>(groups.size() | 0x80));
      nested.push_back(static_cast<char>(groups.size() >> 7));
      Check(nested + groups, random, tally);
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(tally.invalid, 10);
}

// Lengths that say more than there is, up to the largest that a varint can say.
TEST_P(AgreementTest, LengthsPastTheEnd) {
  Random random(8);
  Tally tally;
  const std::string lengths[] = {"\x05",
                                 "\xff\x7f",
                                 "\xf0\xff\xff\xff\x07",
                                 "\xff\xff\xff\xff\x07",
                                 "\xff\xff\xff\xff\x0f",
                                 "\x80\x80\x80\x80\x10",
                                 "\x82\x80\x80\x80\x80\x80\x01",
                                 "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"};
  for (const std::string& length : lengths) {
    for (const std::string field : {"\x0a", "\x12", "\x1a", "\x22", "\x32", "\x3a", "\x82\x01"}) {
      for (const std::string before : {"", "\x0a\x05", "\x1a\x08", "\x3a\x09"}) {
        Check(before + field + length + "ab", random, tally);
        Check(GetParam().sample(random) + before + field + length + "ab", random, tally);
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GT(tally.invalid, 300);
}

INSTANTIATE_TEST_SUITE_P(AllKinds, AgreementTest, testing::ValuesIn(AllKinds()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace lossd::wire_test
