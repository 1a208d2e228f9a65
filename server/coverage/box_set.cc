#include "server/coverage/box_set.h"

#include <algorithm>
#include <bit>

namespace lossd {

BoxSet::BoxSet(int64_t outer) {
  root_ = NewNode({0, std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(outer, 1)))});
}

bool BoxSet::Insert(const Box& box) {
  if (Overlaps(box, root_)) return false;
  Add(box, root_);
  return true;
}

// The smallest range that holds both.
BoxSet::Range BoxSet::Enclosing(uint64_t first, uint64_t last) {
  const uint64_t span = first == last ? 1 : std::bit_floor(first ^ last) << 1;
  return {first & ~(span - 1), span};
}

BoxSet::Range BoxSet::Half(const Range& range, int side) {
  const uint64_t half = range.span / 2;
  return {range.begin + (side == 0 ? 0 : half), half};
}

bool BoxSet::Covers(const Box& box, const Range& range) {
  const uint64_t begin = box.outer_begin;
  return begin <= range.begin &&
         range.begin + range.span <= begin + static_cast<uint64_t>(box.outer_count);
}

bool BoxSet::Meets(const Box& box, const Range& range) {
  const uint64_t begin = box.outer_begin;
  return begin < range.begin + range.span &&
         range.begin < begin + static_cast<uint64_t>(box.outer_count);
}

bool BoxSet::Overlaps(const Box& box, int32_t node) const {
  if (node == kNone || !Meets(box, nodes_[node].range)) return false;
  const Node& at = nodes_[node];
  const int64_t begin = box.inner_begin;
  const int64_t end = begin + box.inner_count;
  if (at.here.Intersects(begin, end)) return true;
  if (Covers(box, at.range)) return at.below.Intersects(begin, end);
  return Overlaps(box, at.child[0]) || Overlaps(box, at.child[1]);
}

void BoxSet::Add(const Box& box, int32_t node) {
  const int64_t begin = box.inner_begin;
  const int64_t end = begin + box.inner_count;
  entries_ -= Weight(node);
  if (Covers(box, nodes_[node].range)) {
    nodes_[node].here.Insert({begin, end, 0});
    entries_ += Weight(node);
    return;
  }
  nodes_[node].below.Cover(begin, end);
  entries_ += Weight(node);
  for (const int side : {0, 1}) {
    if (Meets(box, Half(nodes_[node].range, side))) Add(box, ChildFor(box, node, side));
  }
  Lift(begin, node);
}

// The child on that side, which the box meets, made so large that it holds all of the box there.
int32_t BoxSet::ChildFor(const Box& box, int32_t node, int side) {
  const Range half = Half(nodes_[node].range, side);
  const int32_t old = nodes_[node].child[side];
  const uint64_t box_begin = box.outer_begin;
  const uint64_t box_end = box_begin + static_cast<uint64_t>(box.outer_count);
  uint64_t first = std::max(box_begin, half.begin);
  uint64_t last = std::min(box_end, half.begin + half.span) - 1;
  if (old != kNone) {
    const Range range = nodes_[old].range;
    first = std::min(first, range.begin);
    last = std::max(last, range.begin + range.span - 1);
  }
  const Range wanted = Enclosing(first, last);
  if (old != kNone && nodes_[old].range == wanted) return old;
  const int32_t made = NewNode(wanted);
  nodes_[node].child[side] = made;  // not through a reference: NewNode moves nodes
  if (old == kNone) return made;
  nodes_[made].child[nodes_[old].range.begin < Half(wanted, 1).begin ? 0 : 1] = old;
  nodes_[made].below = nodes_[old].below;
  nodes_[made].below.Cover(nodes_[old].here);
  entries_ += Weight(made);
  return made;
}

// If both halves hold the same interval around `inner_begin`, the node itself holds it instead.
// `below` may then go on naming an interval that is `here` already, which changes no answer.
void BoxSet::Lift(int64_t inner_begin, int32_t node) {
  const int32_t left = nodes_[node].child[0];
  const int32_t right = nodes_[node].child[1];
  if (left == kNone || right == kNone) return;
  const uint64_t half = nodes_[node].range.span / 2;
  if (nodes_[left].range.span < half || nodes_[right].range.span < half) return;
  const auto interval = nodes_[left].here.Find(inner_begin);
  if (!interval || nodes_[right].here.Find(inner_begin) != interval) return;
  entries_ -= Weight(node) + Weight(left) + Weight(right);
  nodes_[left].here.Remove(*interval);
  nodes_[right].here.Remove(*interval);
  nodes_[node].here.Insert(*interval);
  entries_ += Weight(node) + Weight(left) + Weight(right);
  DropEmptyChildren(node);
}

void BoxSet::DropEmptyChildren(int32_t node) {
  entries_ -= Weight(node);
  for (int32_t& child : nodes_[node].child) {
    if (child == kNone || !nodes_[child].here.empty()) continue;
    if (nodes_[child].child[0] != kNone || nodes_[child].child[1] != kNone) continue;
    Free(child);
    child = kNone;
  }
  if (nodes_[node].child[0] == kNone && nodes_[node].child[1] == kNone) nodes_[node].below.Clear();
  entries_ += Weight(node);
}

int64_t BoxSet::Weight(int32_t node) const {
  return nodes_[node].here.size() + nodes_[node].below.size();
}

void BoxSet::Free(int32_t node) {
  entries_ -= Weight(node) + 1;
  nodes_[node] = {};
  free_.push_back(node);
}

int32_t BoxSet::NewNode(const Range& range) {
  ++entries_;
  int32_t node = static_cast<int32_t>(nodes_.size());
  if (free_.empty()) {
    nodes_.emplace_back();
  } else {
    node = free_.back();
    free_.pop_back();
  }
  nodes_[node].range = range;
  return node;
}

}  // namespace lossd
