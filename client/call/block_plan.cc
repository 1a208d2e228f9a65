#include "client/call/block_plan.h"

#include <algorithm>

namespace lossd {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

// Appends `next`, merged into the last box where the two make one.
void AppendMerged(std::vector<Box>& boxes, const Box& next) {
  if (!boxes.empty()) {
    Box& last = boxes.back();
    if (last.outer_begin == next.outer_begin && last.outer_count == next.outer_count &&
        last.inner_begin + last.inner_count == next.inner_begin) {
      last.inner_count += next.inner_count;
      return;
    }
    if (last.inner_begin == next.inner_begin && last.inner_count == next.inner_count &&
        last.outer_begin + last.outer_count == next.outer_begin) {
      last.outer_count += next.outer_count;
      return;
    }
  }
  boxes.push_back(next);
}

}  // namespace

BlockPlan::BlockPlan(const Geometry& geometry, int64_t block_bytes)
    : outer_(geometry.outer), inner_(geometry.inner) {
  // Division instead of products: classes * inner * sizes may not fit.
  const int64_t element = geometry.element_bytes();
  const int64_t positions = std::max<int64_t>(1, block_bytes / element / geometry.classes);
  const int64_t inner = std::max<int64_t>(1, inner_);
  planes_ = std::max<int64_t>(1, positions / inner);
  run_ = std::min(positions, inner);
  if (geometry.in_one_box) {
    planes_ = std::max<int64_t>(1, outer_);
    run_ = inner;
  }
  per_plane_ = CeilDiv(inner, run_);
  count_ = geometry.positions() == 0 ? 0 : CeilDiv(outer_, planes_) * per_plane_;
}

Box BlockPlan::At(int64_t index) const {
  const int64_t outer_begin = index / per_plane_ * planes_;
  const int64_t inner_begin = index % per_plane_ * run_;
  return {outer_begin, std::min(planes_, outer_ - outer_begin), inner_begin,
          std::min(run_, inner_ - inner_begin)};
}

std::optional<int64_t> BlockPlan::IndexOf(const Box& box) const {
  if (box.outer_begin < 0 || box.outer_begin >= outer_ || box.inner_begin < 0 ||
      box.inner_begin >= inner_) {
    return std::nullopt;
  }
  const int64_t index = box.outer_begin / planes_ * per_plane_ + box.inner_begin / run_;
  if (At(index) != box) return std::nullopt;
  return index;
}

std::vector<Box> BlockPlan::Missing(const std::vector<bool>& answered) const {
  // Row by row of blocks first, so that a plane whose blocks are all missing is one box and can be
  // merged with the planes before it.
  std::vector<Box> missing;
  std::vector<Box> row;
  for (int64_t index = 0; index < count_; ++index) {
    if (!answered[index]) AppendMerged(row, At(index));
    if ((index + 1) % per_plane_ != 0) continue;
    for (const Box& box : row) AppendMerged(missing, box);
    row.clear();
  }
  return missing;
}

}  // namespace lossd
