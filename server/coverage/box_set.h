#ifndef LOSSD_SERVER_COVERAGE_BOX_SET_H_
#define LOSSD_SERVER_COVERAGE_BOX_SET_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "lossd/loss_spec.h"
#include "server/coverage/interval_set.h"

namespace lossd {

// A set of disjoint boxes of positions, each with a tag, that can tell at once whether a new box
// overlaps one of them. Operations take O(log outer * log n) time whatever the order and the shapes
// of the boxes. Boxes of one tag that fit together are merged, so that a tensor that arrives in
// order takes a handful of entries.
//
// How: a segment tree over the outer axis, its nodes made on demand. A box is split into the
// O(log outer) nodes whose ranges make up its outer range; in each its inner range is kept as an
// interval (`here`). Every node also keeps the union of the inner ranges of all boxes further down
// (`below`). A new box overlaps an old one exactly if, at one of the nodes it is split into, its
// inner range meets `here` of that node or of a node above it, or `below` of that node.
class BoxSet {
 public:
  // Of positions [0, outer) by [0, inner).
  BoxSet(int64_t outer, int64_t inner);

  // Adds a box; false, and no change, if it overlaps one in the set. Precondition: the box is not
  // empty and inside the extents.
  bool Insert(const Box& box, int64_t tag);

  // The tag of the box that holds a position.
  std::optional<int64_t> Find(int64_t outer, int64_t inner) const;

  // Nodes and intervals held: a measure of memory, some 50 bytes each.
  int64_t entries() const { return entries_; }

 private:
  static constexpr int32_t kNone = -1;
  struct Node {
    int32_t child[2] = {kNone, kNone};
    IntervalSet here;
    IntervalSet below;
  };
  // A node and the outer range it stands for: [begin, begin + span), span a power of two.
  struct Place {
    int32_t node;
    uint64_t begin;
    uint64_t span;
  };

  static bool Covers(const Box& box, const Place& at);
  static bool Meets(const Box& box, const Place& at);
  Place Child(const Place& at, int side) const;
  int64_t Weight(int32_t node) const;
  bool Overlaps(const Box& box, const Place& at) const;
  void Add(const Box& box, int64_t tag, const Place& at);
  void Lift(int64_t inner_begin, int32_t node);
  void DropEmptyChildren(int32_t node);
  void Free(int32_t node);
  int32_t NewNode();

  int64_t inner_;
  std::vector<Node> nodes_;
  std::vector<int32_t> free_;
  Place root_;
  int64_t entries_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_COVERAGE_BOX_SET_H_
