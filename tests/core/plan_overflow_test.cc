// The plan's limits on sizes, against the same product in 128 bits.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/plan/loss_plan.h"
#include "tests/core/plan_request.h"
#include "tests/support/random.h"

namespace lossd {
namespace {

using Shape = std::vector<int64_t>;
__extension__ using Wide = __int128;

// Whether eight bytes for each element, empty dimensions left out, are below 2^63.
bool Fits(const Shape& shape) {
  Wide bytes = 8;
  for (const int64_t extent : shape) {
    bytes *= std::max<int64_t>(extent, 1);
    if (bytes > INT64_MAX) return false;
  }
  return true;
}

void Check(const Shape& shape) {
  SCOPED_TRACE(ShapeString(shape));
  const int axis = shape.size() == 1 ? 0 : 1;
  if (shape[axis] == 0) return;  // no classes is another refusal
  const plan_test::Request request = plan_test::Request::Of(shape, Layout::kRowMajor, axis);
  const absl::StatusOr<LossPlan> plan = LossPlan::Make(request.spec, request.tensors);
  const bool few_classes = shape[axis] <= INT32_MAX;
  EXPECT_EQ(plan.ok(), Fits(shape) && few_classes) << plan.status();
  if (plan.ok()) {
    Wide elements = 1;
    for (const int64_t extent : shape) elements *= extent;
    EXPECT_TRUE(static_cast<Wide>(plan->positions()) * plan->classes() == elements);
    EXPECT_TRUE(plan->predictions_bytes() == 4 * elements);
  } else {
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(
        std::string(plan.status().message()),
        testing::HasSubstr("predictions.shape is " + ShapeString(shape) +
                           (Fits(shape) ? "; wanted at most 2147483647 classes"
                                        : "; wanted at most 1152921504606846975 elements")));
  }
}

constexpr int64_t kLimit = int64_t{1} << 60;  // elements: the first that does not fit

TEST(Overflow, AtTheBoundaries) {
  const Shape kBoundaries[] = {
      {kLimit - 1},
      {kLimit},
      {INT64_MAX},
      {1, kLimit - 1},
      {1, kLimit},
      {kLimit - 1, 1},
      {INT32_MAX},
      {int64_t{INT32_MAX} + 1},
      {7, INT32_MAX, 2},
      {7, int64_t{INT32_MAX} + 1, 2},
      {0, int64_t{INT32_MAX} + 1},
      {INT64_MAX, 1},
      {int64_t{1} << 30, (int64_t{1} << 30) - 1},
      {int64_t{1} << 30, int64_t{1} << 30},
      {int64_t{1} << 32, int64_t{1} << 32},  // 2^64 elements: 0 in 64 bits
      {int64_t{1} << 31, int64_t{1} << 32},  // 2^63: negative
      {int64_t{1} << 33, int64_t{1} << 31},
      {INT64_MAX, INT64_MAX},
      {INT64_MAX, INT64_MAX, INT64_MAX},
      {3, 6148914691236517206},  // 2^64 + 2: 2 in 64 bits
      {1 << 16, 1 << 16, 1 << 16, 1 << 12},
      {1 << 16, 1 << 16, 1 << 16, 1 << 11},
      {0, 5, kLimit},  // nothing in it, and still
      {0, 5, kLimit / 5},
      {INT64_MAX, 1, 0},
      {0, 1, kLimit - 1},
      {256, 256, 256, 256, 256, 256, 256, 15},
      {256, 256, 256, 256, 256, 256, 256, 16},
      {256, 256, 256, 256, 256, 256, 256, 256},
  };
  for (const Shape& shape : kBoundaries) Check(shape);
}

TEST(Overflow, AroundTheLimitInEveryFactoring) {
  oracle::Random random(1);
  SCOPED_TRACE(testing::Message() << "LOSSD_TEST_SEED=" << oracle::TestSeed());
  int fitting = 0;
  constexpr int kTries = 20000;
  for (int i = 0; i < kTries; ++i) {
    // Extents whose product lies near the limit, now and then with an empty dimension among them.
    Shape shape(random.Below(7) + 2);
    int64_t room = kLimit;
    for (size_t d = 0; d + 1 < shape.size(); ++d) {
      shape[d] = 1 + random.Below(std::max<int64_t>(1, room >> random.Below(61)));
      room = std::max<int64_t>(1, room / shape[d]);
    }
    shape.back() = std::max<int64_t>(1, room + random.Below(5) - 2);
    std::swap(shape.back(), shape[random.Below(shape.size())]);
    if (random.OneIn(4)) shape[random.Below(shape.size())] = 0;
    fitting += Fits(shape);
    Check(shape);
    if (testing::Test::HasFailure()) return;
  }
  // Both sides of the limit were met.
  EXPECT_GT(fitting, kTries / 10);
  EXPECT_LT(fitting, kTries - kTries / 10);
}

}  // namespace
}  // namespace lossd
