#include "server/coverage/box_set.h"

#include <algorithm>
#include <bit>

namespace lossd {

BoxSet::BoxSet(int64_t outer, int64_t inner) : inner_(inner) {
  root_ = {NewNode(), 0, std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(outer, 1)))};
}

bool BoxSet::Insert(const Box& box, int64_t tag) {
  if (Overlaps(box, root_)) return false;
  Add(box, tag, root_);
  return true;
}

std::optional<int64_t> BoxSet::Find(int64_t outer, int64_t inner) const {
  for (Place at = root_; at.node != kNone;) {
    if (const auto interval = nodes_[at.node].here.Find(inner)) return interval->tag;
    if (at.span == 1) break;
    at = Child(at, static_cast<uint64_t>(outer) >= at.begin + at.span / 2 ? 1 : 0);
  }
  return std::nullopt;
}

bool BoxSet::Covers(const Box& box, const Place& at) {
  const uint64_t begin = box.outer_begin;
  return begin <= at.begin && at.begin + at.span <= begin + static_cast<uint64_t>(box.outer_count);
}

bool BoxSet::Meets(const Box& box, const Place& at) {
  const uint64_t begin = box.outer_begin;
  return begin < at.begin + at.span && at.begin < begin + static_cast<uint64_t>(box.outer_count);
}

BoxSet::Place BoxSet::Child(const Place& at, int side) const {
  const uint64_t half = at.span / 2;
  return {nodes_[at.node].child[side], at.begin + (side == 0 ? 0 : half), half};
}

bool BoxSet::Overlaps(const Box& box, const Place& at) const {
  if (at.node == kNone || !Meets(box, at)) return false;
  const Node& node = nodes_[at.node];
  const int64_t begin = box.inner_begin;
  const int64_t end = begin + box.inner_count;
  if (node.here.Intersects(begin, end)) return true;
  if (Covers(box, at)) return node.below.Intersects(begin, end);
  return Overlaps(box, Child(at, 0)) || Overlaps(box, Child(at, 1));
}

void BoxSet::Add(const Box& box, int64_t tag, const Place& at) {
  const int64_t begin = box.inner_begin;
  const int64_t end = begin + box.inner_count;
  entries_ -= Weight(at.node);
  if (Covers(box, at)) {
    nodes_[at.node].here.Insert({begin, end, tag});
    entries_ += Weight(at.node);
    return;
  }
  nodes_[at.node].below.Cover(begin, end);
  entries_ += Weight(at.node);
  for (const int side : {0, 1}) {
    Place child = Child(at, side);
    if (!Meets(box, child)) continue;
    if (child.node == kNone) {
      child.node = NewNode();
      nodes_[at.node].child[side] = child.node;  // not through a reference: NewNode moves nodes
    }
    Add(box, tag, child);
  }
  Lift(begin, at.node);
}

// If both children hold the same interval around `inner_begin`, the node itself holds it instead.
// `below` may then go on naming an interval that is `here` already, which changes no answer.
void BoxSet::Lift(int64_t inner_begin, int32_t node) {
  const int32_t left = nodes_[node].child[0];
  const int32_t right = nodes_[node].child[1];
  if (left == kNone || right == kNone) return;
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

int32_t BoxSet::NewNode() {
  ++entries_;
  if (free_.empty()) {
    nodes_.emplace_back();
    return static_cast<int32_t>(nodes_.size() - 1);
  }
  const int32_t node = free_.back();
  free_.pop_back();
  return node;
}

}  // namespace lossd
