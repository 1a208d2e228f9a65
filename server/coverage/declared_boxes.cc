#include "server/coverage/declared_boxes.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_format.h"
#include "lossd/status_macros.h"
#include "server/coverage/interval_set.h"

namespace lossd {
namespace {

int64_t OuterEnd(const Box& box) { return box.outer_begin + box.outer_count; }
int64_t InnerEnd(const Box& box) { return box.inner_begin + box.inner_count; }

std::vector<int32_t> Indices(size_t count) {
  std::vector<int32_t> indices(count);
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

}  // namespace

std::string BoxString(const Box& box) {
  return absl::StrFormat("outer %d..%d, inner %d..%d", box.outer_begin, OuterEnd(box),
                         box.inner_begin, InnerEnd(box));
}

absl::StatusOr<DeclaredBoxes> DeclaredBoxes::Make(std::vector<Box> boxes) {
  DeclaredBoxes made(std::move(boxes));
  LOSSD_RETURN_IF_ERROR(made.CheckDisjoint());
  made.order_ = Indices(made.boxes_.size());
  made.root_ = made.MakeNode(0, static_cast<int32_t>(made.boxes_.size()));
  made.nodes_.shrink_to_fit();
  return made;
}

// Goes along the outer axis with the inner ranges of the boxes that are there: where a box begins,
// its inner range may meet none of them.
absl::Status DeclaredBoxes::CheckDisjoint() const {
  std::vector<int32_t> by_begin = Indices(boxes_.size());
  std::vector<int32_t> by_end = by_begin;
  std::sort(by_begin.begin(), by_begin.end(),
            [this](int32_t a, int32_t b) { return boxes_[a].outer_begin < boxes_[b].outer_begin; });
  std::sort(by_end.begin(), by_end.end(),
            [this](int32_t a, int32_t b) { return OuterEnd(boxes_[a]) < OuterEnd(boxes_[b]); });
  IntervalSet there;  // tagged with the index
  size_t ended = 0;
  for (const int32_t index : by_begin) {
    const Box& box = boxes_[index];
    for (; OuterEnd(boxes_[by_end[ended]]) <= box.outer_begin; ++ended) {
      const Box& gone = boxes_[by_end[ended]];
      there.Remove({gone.inner_begin, InnerEnd(gone), by_end[ended]});
    }
    if (const auto met = there.FirstMeeting(box.inner_begin, InnerEnd(box))) {
      const auto later = std::max(index, static_cast<int32_t>(met->tag));
      return absl::InvalidArgumentError(
          absl::StrFormat("boxes[%d] (%s) overlaps an earlier one; wanted disjoint boxes", later,
                          BoxString(boxes_[later])));
    }
    there.Insert({box.inner_begin, InnerEnd(box), index});
  }
  return absl::OkStatus();
}

// The node of boxes order_[begin .. end), which become sorted. At most half of them begin behind
// the node's outer index and at most half before it, so the tree is as deep as a logarithm.
int32_t DeclaredBoxes::MakeNode(int32_t begin, int32_t end) {
  if (begin == end) return kNone;
  const auto first = order_.begin() + begin;
  const auto last = order_.begin() + end;
  const auto middle = first + (end - begin) / 2;
  std::nth_element(first, middle, last, [this](int32_t a, int32_t b) {
    return boxes_[a].outer_begin < boxes_[b].outer_begin;
  });
  const int64_t outer = boxes_[*middle].outer_begin;
  const auto here =
      std::partition(first, last, [&](int32_t index) { return OuterEnd(boxes_[index]) <= outer; });
  const auto behind =
      std::partition(here, last, [&](int32_t index) { return boxes_[index].outer_begin <= outer; });
  std::sort(here, behind,
            [this](int32_t a, int32_t b) { return boxes_[a].inner_begin < boxes_[b].inner_begin; });
  const auto here_begin = static_cast<int32_t>(here - order_.begin());
  const auto here_end = static_cast<int32_t>(behind - order_.begin());
  const auto node = static_cast<int32_t>(nodes_.size());
  nodes_.push_back({outer, {kNone, kNone}, here_begin, here_end});
  const int32_t before_side = MakeNode(begin, here_begin);
  const int32_t behind_side = MakeNode(here_end, end);
  nodes_[node].side[0] = before_side;
  nodes_[node].side[1] = behind_side;
  return node;
}

std::optional<int32_t> DeclaredBoxes::Find(int64_t outer, int64_t inner) const {
  for (int32_t at = root_; at != kNone;) {
    const Node& node = nodes_[at];
    const auto begin = order_.begin() + node.begin;
    const auto after = std::upper_bound(
        begin, order_.begin() + node.end, inner,
        [this](int64_t i, int32_t index) { return i < boxes_[index].inner_begin; });
    if (after != begin) {
      const Box& box = boxes_[*(after - 1)];
      const bool holds = inner < InnerEnd(box) && outer >= box.outer_begin && outer < OuterEnd(box);
      if (holds) return *(after - 1);
    }
    if (outer == node.outer) break;
    at = node.side[outer < node.outer ? 0 : 1];
  }
  return std::nullopt;
}

}  // namespace lossd
