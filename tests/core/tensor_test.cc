#include "lossd/tensor.h"

#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

#include "gtest/gtest.h"

namespace lossd {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

std::vector<std::byte> Counting(int count) {
  std::vector<std::byte> bytes;
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<std::byte>(i));
  return bytes;
}

TEST(ElementCount, IsAProductOrNothing) {
  EXPECT_EQ(ElementCount({}), 1);
  EXPECT_EQ(ElementCount({3, 4, 5}), 60);
  EXPECT_EQ(ElementCount({3, 0, 5}), 0);
  EXPECT_EQ(ElementCount({3, -1}), std::nullopt);
  EXPECT_EQ(ElementCount({kMax, 1}), kMax);
  EXPECT_EQ(ElementCount({kMax, 2}), std::nullopt);
  EXPECT_EQ(ElementCount({0, kMax, 2}), std::nullopt);  // a zero does not hide it
}

TEST(ByteCount, IsCheckedAsWell) {
  EXPECT_EQ(ByteCount({DType::kF16, {7, 3}, Layout::kRowMajor}), 42);
  EXPECT_EQ(ByteCount({DType::kI8, {kMax}, Layout::kRowMajor}), kMax);
  EXPECT_EQ(ByteCount({DType::kF64, {kMax / 8 + 1}, Layout::kRowMajor}), std::nullopt);
}

// Every range of ten bytes that lie in pieces of 1, 4, 0, 2 and 3.
TEST(ScatteredBytes, FindsEveryRange) {
  const std::vector<std::byte> whole = Counting(10);
  const ByteSpan all(whole);
  ScatteredBytes scattered;
  for (const auto& [begin, length] :
       std::vector<std::pair<int, int>>{{0, 1}, {1, 4}, {5, 0}, {5, 2}, {7, 3}}) {
    scattered.Append(all.subspan(begin, length));
  }
  EXPECT_EQ(scattered.size(), 10);
  EXPECT_EQ(scattered.pieces().size(), 4u);
  const std::vector<int64_t> borders = {0, 1, 5, 7, 10};
  for (int64_t begin = 0; begin < 10; ++begin) {
    for (int64_t length = 1; begin + length <= 10; ++length) {
      std::vector<std::byte> copy(length);
      scattered.CopyTo(begin, length, copy.data());
      EXPECT_EQ(copy,
                std::vector<std::byte>(whole.begin() + begin, whole.begin() + begin + length));
      // In one piece if no border lies within; a range that begins at a border counts too.
      bool in_one = true;
      for (const int64_t border : borders) {
        in_one = in_one && !(begin < border && border < begin + length);
      }
      EXPECT_EQ(scattered.Contiguous(begin, length), in_one ? whole.data() + begin : nullptr)
          << begin << " + " << length;
    }
  }
}

TEST(ScatteredBytes, MayBeEmpty) {
  ScatteredBytes scattered;
  EXPECT_EQ(scattered.size(), 0);
  scattered.Append({});
  EXPECT_EQ(scattered.pieces().size(), 0u);
  scattered.CopyTo(0, 0, nullptr);
}

TEST(DTypes, NamesAreParsedBack) {
  for (const DType dtype : kAllDTypes) EXPECT_EQ(ParseDType(Name(dtype)), dtype);
  EXPECT_EQ(ParseDType("f128"), std::nullopt);
  EXPECT_EQ(ParseDType(""), std::nullopt);
}

}  // namespace
}  // namespace lossd
