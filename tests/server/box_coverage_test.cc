#include "server/coverage/box_coverage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "tests/support/random.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

// The dull truth: one cell per position.
class Bitmap {
 public:
  Bitmap(int64_t outer, int64_t inner) : inner_(inner), box_(outer * inner, -1) {}

  bool Declare(const Box& box, int id) {
    if (!All(box, [&](int64_t p) { return box_[p] == -1; })) return false;
    Each(box, [&](int64_t p) { box_[p] = id; });
    return true;
  }
  bool Arrive(const Box& box) {
    const int id = box_[box.outer_begin * inner_ + box.inner_begin];
    if (id < 0 || !All(box, [&](int64_t p) { return box_[p] == id; })) return false;
    Each(box, [&](int64_t p) { box_[p] = -2; });
    return true;
  }
  bool Complete() const {
    return std::none_of(box_.begin(), box_.end(), [](int id) { return id >= 0; });
  }

 private:
  template <class F>
  void Each(const Box& box, F f) const {
    for (int64_t o = box.outer_begin; o < box.outer_begin + box.outer_count; ++o) {
      for (int64_t i = box.inner_begin; i < box.inner_begin + box.inner_count; ++i) {
        f(o * inner_ + i);
      }
    }
  }
  template <class F>
  bool All(const Box& box, F f) const {
    bool all = true;
    Each(box, [&](int64_t p) { all = all && f(p); });
    return all;
  }

  int64_t inner_;
  std::vector<int> box_;  // -1: in no box, -2: arrived, else the declared box
};

Box RandomBox(oracle::Random& random, const Box& within) {
  const auto cut = [&](int64_t begin, int64_t count) {
    const int64_t first = random.Below(count);
    return std::pair(begin + first, 1 + random.Below(count - first));
  };
  const auto [outer_begin, outer_count] = cut(within.outer_begin, within.outer_count);
  const auto [inner_begin, inner_count] = cut(within.inner_begin, within.inner_count);
  return {outer_begin, outer_count, inner_begin, inner_count};
}

// Cuts a box into pieces, at random.
void Cut(oracle::Random& random, const Box& box, std::vector<Box>& pieces) {
  const bool by_outer = box.outer_count > 1 && (box.inner_count == 1 || random.OneIn(2));
  const int64_t count = by_outer ? box.outer_count : box.inner_count;
  if (count == 1 || random.OneIn(4)) return pieces.push_back(box);
  const int64_t at = 1 + random.Below(count - 1);
  Box first = box;
  Box second = box;
  if (by_outer) {
    first.outer_count = at;
    second.outer_begin += at;
    second.outer_count -= at;
  } else {
    first.inner_count = at;
    second.inner_begin += at;
    second.inner_count -= at;
  }
  Cut(random, first, pieces);
  Cut(random, second, pieces);
}

void Shuffle(oracle::Random& random, std::vector<Box>& boxes) {
  for (size_t i = boxes.size(); i > 1; --i) std::swap(boxes[i - 1], boxes[random.Below(i)]);
}

TEST(BoxCoverage, AgreesWithABitmap) {
  int64_t refused = 0;
  int64_t completed = 0;
  for (int round = 0; round < 3000; ++round) {
    SCOPED_TRACE(::testing::Message() << "seed " << oracle::TestSeed() << " round " << round);
    oracle::Random random(round);
    const int64_t outer = 1 + random.Below(13);
    const int64_t inner = 1 + random.Below(9);
    const Box whole = {0, outer, 0, inner};
    Bitmap truth(outer, inner);
    std::vector<Box> declared;
    for (int i = 0; i < 1 + random.Below(4); ++i) {
      const Box box = random.OneIn(5) ? whole : RandomBox(random, whole);
      if (truth.Declare(box, static_cast<int>(declared.size()))) declared.push_back(box);
    }
    auto coverage = BoxCoverage::Make(outer, declared);
    ASSERT_TRUE(coverage.ok()) << coverage.status();

    // Blocks that fit, in random order, between blocks that may not.
    std::vector<Box> pieces;
    for (const Box& box : declared) Cut(random, box, pieces);
    Shuffle(random, pieces);
    if (random.OneIn(3)) pieces.pop_back();
    for (const Box& piece : pieces) {
      while (random.OneIn(2)) {
        const Box stray = RandomBox(random, whole);
        const bool fits = truth.Arrive(stray);
        ASSERT_EQ(coverage->Add(stray).ok(), fits) << BoxString(stray);
        refused += !fits;
      }
      ASSERT_EQ(coverage->Add(piece).ok(), truth.Arrive(piece)) << BoxString(piece);
    }
    ASSERT_EQ(coverage->Complete().ok(), truth.Complete());
    completed += truth.Complete();
  }
  // The inputs reach both outcomes often.
  EXPECT_GT(refused, 1000);
  EXPECT_GT(completed, 300);
}

TEST(BoxCoverage, DeclaredBoxesMayNotOverlap) {
  for (int round = 0; round < 1000; ++round) {
    SCOPED_TRACE(::testing::Message() << "seed " << oracle::TestSeed() << " round " << round);
    oracle::Random random(round);
    const Box whole = {0, 1 + random.Below(13), 0, 1 + random.Below(9)};
    Bitmap truth(whole.outer_count, whole.inner_count);
    std::vector<Box> boxes;
    bool disjoint = true;
    for (int i = 0; i < 3; ++i) {
      boxes.push_back(RandomBox(random, whole));
      disjoint = disjoint && truth.Declare(boxes.back(), i);
    }
    const auto made = BoxCoverage::Make(whole.outer_count, boxes);
    ASSERT_EQ(made.ok(), disjoint);
    if (!disjoint) {
      EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(made.status().message()), HasSubstr("overlaps an earlier one"));
    }
  }
}

// Every position of a matrix that is cut into many boxes, some of which are left out.
TEST(DeclaredBoxes, FindsTheBoxOfEveryPosition) {
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(::testing::Message() << "seed " << oracle::TestSeed() << " round " << round);
    oracle::Random random(round);
    const Box whole = {0, 1 + random.Below(60), 0, 1 + random.Below(60)};
    std::vector<Box> boxes;
    Cut(random, whole, boxes);
    Shuffle(random, boxes);
    if (random.OneIn(2)) boxes.resize((boxes.size() + 1) / 2);
    std::vector<std::optional<int32_t>> owner(whole.outer_count * whole.inner_count);
    for (size_t i = 0; i < boxes.size(); ++i) {
      const Box& box = boxes[i];
      for (int64_t o = 0; o < box.outer_count; ++o) {
        const auto row = owner.begin() + (box.outer_begin + o) * whole.inner_count;
        std::fill_n(row + box.inner_begin, box.inner_count, static_cast<int32_t>(i));
      }
    }
    const auto declared = DeclaredBoxes::Make(boxes);
    ASSERT_TRUE(declared.ok()) << declared.status();
    for (int64_t o = 0; o < whole.outer_count; ++o) {
      for (int64_t i = 0; i < whole.inner_count; ++i) {
        ASSERT_EQ(declared->Find(o, i), owner[o * whole.inner_count + i]) << o << ", " << i;
      }
    }
    EXPECT_EQ(declared->Find(whole.outer_count, 0), std::nullopt);
    EXPECT_EQ(declared->Find(0, whole.inner_count), std::nullopt);
  }
}

// Nested along the outer axis, each with an inner index of its own: boxes that a tree of aligned
// ranges splits into most pieces.
TEST(DeclaredBoxes, LongBoxesOfOddExtents) {
  constexpr int64_t kBoxes = 65536;
  constexpr int64_t kOuter = int64_t{1} << 59;
  std::vector<Box> boxes;
  for (int64_t i = 0; i < kBoxes; ++i) boxes.push_back({i + 1, kOuter - 2 * i - 3, i, 1});
  const auto declared = DeclaredBoxes::Make(boxes);
  ASSERT_TRUE(declared.ok());
  for (int64_t i = 0; i < kBoxes; ++i) {
    ASSERT_EQ(declared->Find(kOuter / 2, i), i);
    ASSERT_EQ(declared->Find(i, i), std::nullopt);
  }
}

TEST(BoxCoverage, NamesWhatIsWrong) {
  auto coverage = BoxCoverage::Make(8, {{0, 4, 0, 4}, {6, 2, 0, 2}});
  ASSERT_TRUE(coverage.ok());
  EXPECT_EQ(coverage->declared_positions(), 20);
  EXPECT_THAT(std::string(coverage->Add({5, 1, 0, 1}).message()),
              HasSubstr("block (outer 5..6, inner 0..1) is not inside one box"));
  EXPECT_THAT(std::string(coverage->Add({3, 2, 0, 4}).message()),
              HasSubstr("here (outer 0..4, inner 0..4)"));
  EXPECT_TRUE(coverage->Add({0, 4, 0, 4}).ok());
  EXPECT_THAT(std::string(coverage->Add({2, 1, 1, 1}).message()),
              HasSubstr("block (outer 2..3, inner 1..2) overlaps an earlier one"));
  EXPECT_TRUE(coverage->Add({7, 1, 0, 2}).ok());
  EXPECT_EQ(coverage->Complete(),
            absl::InvalidArgumentError("the upload ended after 18 of 20 positions; box (outer "
                                       "6..8, inner 0..2) got 2 of 4"));
  EXPECT_TRUE(coverage->Add({6, 1, 0, 2}).ok());
  EXPECT_TRUE(coverage->Complete().ok());
}

TEST(BoxCoverage, HugeExtents) {
  constexpr int64_t kHuge = int64_t{1} << 60;
  auto coverage = BoxCoverage::Make(kHuge + 1, {{0, kHuge + 1, 0, 4}});
  ASSERT_TRUE(coverage.ok());
  EXPECT_TRUE(coverage->Add({1, kHuge - 1, 0, 4}).ok());
  EXPECT_FALSE(coverage->Add({kHuge - 1, 2, 0, 1}).ok());
  EXPECT_TRUE(coverage->Add({kHuge, 1, 0, 4}).ok());
  EXPECT_FALSE(coverage->Complete().ok());
  EXPECT_TRUE(coverage->Add({0, 1, 0, 4}).ok());
  EXPECT_TRUE(coverage->Complete().ok());
}

TEST(BoxSet, BlocksInOrderMerge) {
  // Rows of a matrix, 33 at a time; then tiles of an image, inner halves.
  BoxSet rows(33 * 5000);
  for (int64_t i = 0; i < 5000; ++i) {
    ASSERT_TRUE(rows.Insert({33 * i, 33, 0, 1}));
    ASSERT_LT(rows.entries(), 100);
  }
  BoxSet tiles(1000);
  for (int64_t o = 0; o < 1000; ++o) {
    for (int64_t i = 0; i < 512; i += 256) {
      ASSERT_TRUE(tiles.Insert({o, 1, i, 256}));
      ASSERT_LT(tiles.entries(), 100);
    }
  }
}

// In any order, all that is left of a tensor that is here is the root and one interval.
TEST(BoxSet, CompleteTensorCollapses) {
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(::testing::Message() << "seed " << oracle::TestSeed() << " round " << round);
    oracle::Random random(round);
    const Box whole = {0, int64_t{1} << random.Below(7), 0, 1 + random.Below(20)};
    std::vector<Box> pieces;
    Cut(random, whole, pieces);
    Shuffle(random, pieces);
    BoxSet set(whole.outer_count);
    for (const Box& piece : pieces) ASSERT_TRUE(set.Insert(piece));
    EXPECT_FALSE(set.Insert(whole));
    EXPECT_LE(set.entries(), 3);
  }
}

// A staircase, then columns over all of it: what makes a list of slabs quadratic.
TEST(BoxSet, StaircaseAndColumns) {
  constexpr int64_t kSteps = 20000;
  BoxSet set(kSteps);
  for (int64_t i = 0; i < kSteps; ++i) ASSERT_TRUE(set.Insert({i, 1, i, 1}));
  for (int64_t i = 0; i < kSteps; ++i) {
    ASSERT_TRUE(set.Insert({0, kSteps, 2 * kSteps - 1 - i, 1}));
    ASSERT_FALSE(set.Insert({0, kSteps, i, 1}));
  }
}

// However long the outer axis is.
TEST(BoxSet, ScatteredRowsTakeFourEntriesEach) {
  constexpr int64_t kRows = 20000;
  oracle::Random random(1);
  for (const int bits : {20, 40, 59}) {
    BoxSet set(int64_t{1} << bits);
    int64_t inserted = 0;
    for (int64_t i = 0; i < kRows; ++i) {
      inserted += set.Insert({random.Below((int64_t{1} << bits) / 4) * 4, 1, 0, 1});
    }
    EXPECT_GT(inserted, kRows * 9 / 10);
    EXPECT_LE(set.entries(), 4 * inserted) << bits;
  }
}

TEST(BoxCoverage, ScatteredBlocksMeetALimit) {
  constexpr int64_t kRows = int64_t{1} << 40;
  auto coverage = BoxCoverage::Make(kRows, {{0, kRows, 0, 1}});
  ASSERT_TRUE(coverage.ok());
  oracle::Random random(1);
  absl::Status status;
  int64_t blocks = 0;
  for (; status.ok() && blocks < BoxCoverage::kMaxEntries; ++blocks) {
    status = coverage->Add({random.Below(kRows / 4) * 4, 1, 0, 1});
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_GT(blocks, 16384);
}

}  // namespace
}  // namespace lossd
