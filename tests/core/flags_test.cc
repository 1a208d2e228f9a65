// Flags of programs: values as text and back.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/flags/flag.h"
#include "core/flags/flag_list.h"
#include "core/flags/values.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct SizeCase {
  const char* text;
  std::optional<int64_t> bytes;
};

constexpr int64_t kMost = 0x7fffffffffffffff;

const SizeCase kSizes[] = {
    {"0", 0},
    {"1500", 1500},
    {"9223372036854775807", kMost},
    {"9223372036854775808", std::nullopt},  // would be negative
    {"7b", 7},
    {"2k", 2000},
    {"2KB", 2000},
    {"2Ki", 2048},
    {"2kib", 2048},
    {"3MiB", 3 << 20},
    {"3 MiB", 3 << 20},
    {"3MiB ", 3 << 20},
    {"5TiB", int64_t{5} << 40},
    {"1e", 1'000'000'000'000'000'000},  // exa
    {"7EiB", int64_t{7} << 60},
    {"8EiB", std::nullopt},  // one more than there are
    {"99999999999GiB", std::nullopt},
    {"18446744073709551617b", std::nullopt},  // 1 beyond 64 bits
    {"0x10KiB", 16 << 10},
    {"010KiB", 8 << 10},
    {"08", std::nullopt},  // no octal number
    {"", std::nullopt},
    {"MiB", std::nullopt},
    {" 1", std::nullopt},
    {"-1MiB", std::nullopt},
    {"+1", std::nullopt},
    {"1.5GiB", std::nullopt},
    {"1 2KiB", std::nullopt},
    {"10parsec", std::nullopt},
    {"1bi", std::nullopt},
    {"1kk", std::nullopt},
};

TEST(Values, Sizes) {
  for (const SizeCase& size : kSizes) EXPECT_EQ(ParseSize(size.text), size.bytes) << size.text;
}

TEST(Values, SizesAsTextReadTheSame) {
  for (const int64_t bytes : {int64_t{0}, int64_t{1023}, int64_t{1024}, int64_t{1025},
                              int64_t{64} << 20, int64_t{3} << 30, int64_t{5} << 40, kMost}) {
    EXPECT_EQ(ParseSize(SizeText(bytes)), bytes) << SizeText(bytes);
  }
  EXPECT_EQ(SizeText(64 << 20), "64MiB");
}

TEST(Values, OnlyWhoAsksForSecondsGetsThem) {
  EXPECT_EQ(ParseDuration("1m30s"), absl::Seconds(90));
  EXPECT_EQ(ParseDuration("90"), std::nullopt);
  EXPECT_EQ(ParseDurationOrSeconds("90"), absl::Seconds(90));
  EXPECT_EQ(ParseDurationOrSeconds("1.5"), absl::Milliseconds(1500));
  EXPECT_EQ(ParseDurationOrSeconds("250ms"), absl::Milliseconds(250));
  EXPECT_EQ(ParseDurationOrSeconds("5parsec"), std::nullopt);
}

TEST(Values, EditDistances) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("abc", "abd"), 1u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("ab", "ba"), 2u);
}

TEST(Flags, AnOptionalTextKnowsWhetherItWasGiven) {
  std::optional<std::string> value;
  const Flag flag = TextFlag("name", value, "TEXT", "help");
  EXPECT_THAT(flag.get(), IsEmpty());
  EXPECT_TRUE(flag.set({""}).ok());
  EXPECT_EQ(value, "");
  EXPECT_TRUE(flag.set({"x"}).ok());
  EXPECT_THAT(flag.get(), ElementsAre("x"));
}

TEST(Flags, ACheckedTextIsSetOnlyIfItPasses) {
  const TextCheck check = [](const std::string& text) {
    return text == "good" ? absl::OkStatus() : absl::InvalidArgumentError("wanted good");
  };
  std::string one = "before";
  EXPECT_FALSE(CheckedTextFlag("one", one, "T", "help", check).set({"bad"}).ok());
  EXPECT_EQ(one, "before");
  std::vector<std::string> many = {"before"};
  const Flag flag = CheckedTextsFlag("many", many, "T", "help", check);
  EXPECT_FALSE(flag.set({"good", "bad"}).ok());
  EXPECT_THAT(many, ElementsAre("before"));
  EXPECT_TRUE(flag.set({"good", "good"}).ok());
  EXPECT_THAT(many, ElementsAre("good", "good"));
}

TEST(Flags, DurationsOfTheClock) {
  std::chrono::nanoseconds value{};
  const Flag flag = DurationFlag("time", value, {absl::Milliseconds(1), absl::Hours(1)}, "help");
  EXPECT_TRUE(flag.set({"1.5s"}).ok());
  EXPECT_EQ(value, std::chrono::milliseconds(1500));
  EXPECT_THAT(flag.set({"2h"}).message(), HasSubstr("1ms..1h"));
}

TEST(Flags, AListNamesWhoGaveAWrongValue) {
  int64_t bytes = 0;
  FlagList flags;
  flags.Add("Group", {SizeFlag("size", bytes, {1, 1 << 20}, "help")});
  const absl::Status status = flags.Set({"size", {"2MiB"}, "LOSSD_SIZE"});
  EXPECT_EQ(status.message(),
            "LOSSD_SIZE: 2MiB is no size in range; wanted 1..1MiB, in bytes or with KiB, MiB, GiB, "
            "TiB");
  EXPECT_EQ(flags.NearestTo("sice"), "size");
  EXPECT_EQ(flags.Find("sice"), nullptr);
}

}  // namespace
}  // namespace lossd
