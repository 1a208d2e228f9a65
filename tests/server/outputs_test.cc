#include "server/calls/outputs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "core/plan/loss_plan.h"

namespace lossd {
namespace {

// All that there is, of `rows` rows of ten classes.
LossPlan PlanOf(int64_t rows) {
  LossSpec spec;
  spec.outputs = {.gradient = true,
                  .position_losses = true,
                  .log_sum_exp = true,
                  .argmax_hits = true,
                  .probabilities = true};
  LossTensorDescs tensors;
  tensors.predictions = {DType::kF32, {rows, 10}};
  tensors.targets = {DType::kI64, {rows}};
  return *LossPlan::Make(spec, tensors);
}

std::vector<MutableByteSpan> All(const LossOutputs& spans) {
  return {spans.gradient, spans.position_losses, spans.log_sum_exp, spans.argmax_hits,
          spans.probabilities};
}

// Each span of its size, aligned and not touched by what is written to another; and sent as it was
// written.
void CheckApart(OutputBuffers& outputs, int64_t rows, wire::OutputFields<wire::Payload>* sent) {
  const std::vector<MutableByteSpan> spans = All(outputs.Spans());
  const std::vector<int64_t> sizes = {40 * rows, 8 * rows, 8 * rows, rows, 40 * rows};
  for (size_t i = 0; i < spans.size(); ++i) {
    ASSERT_EQ(static_cast<int64_t>(spans[i].size()), sizes[i]) << i;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(spans[i].data()) % 64, 0u) << i;
    std::fill(spans[i].begin(), spans[i].end(), static_cast<std::byte>(i + 1));
  }
  *sent = std::move(outputs).IntoPayloads();
  const std::vector<const std::optional<wire::Payload>*> payloads = {
      &sent->gradient, &sent->position_losses, &sent->log_sum_exp, &sent->argmax_hits,
      &sent->probabilities};
  for (size_t i = 0; i < payloads.size(); ++i) {
    const ByteSpan bytes = (*payloads[i])->bytes;
    ASSERT_EQ(static_cast<int64_t>(bytes.size()), sizes[i]) << i;
    EXPECT_EQ(std::count(bytes.begin(), bytes.end(), static_cast<std::byte>(i + 1)), sizes[i]) << i;
  }
}

TEST(OutputBuffers, SmallOnesNeedNoPool) {
  BufferPool pool(1 << 20);
  const LossPlan plan = PlanOf(32);
  OutputBuffers outputs;
  ASSERT_TRUE(outputs.Take(plan, plan.whole(), pool).ok());
  EXPECT_EQ(pool.loaned_bytes(), 0);
  wire::OutputFields<wire::Payload> sent;
  CheckApart(outputs, 32, &sent);
}

TEST(OutputBuffers, LargerOnesGoBackWhenTheyAreSent) {
  BufferPool pool(1 << 20);
  for (const int64_t rows : {63, 100, 103, 1000}) {
    const LossPlan plan = PlanOf(rows);
    OutputBuffers outputs;
    ASSERT_TRUE(outputs.Take(plan, plan.whole(), pool).ok());
    EXPECT_GT(pool.loaned_bytes(), 0) << rows;
    wire::OutputFields<wire::Payload> sent;
    CheckApart(outputs, rows, &sent);
    sent = {};
    EXPECT_EQ(pool.loaned_bytes(), 0) << rows;
  }
}

}  // namespace
}  // namespace lossd
