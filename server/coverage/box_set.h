#ifndef LOSSD_SERVER_COVERAGE_BOX_SET_H_
#define LOSSD_SERVER_COVERAGE_BOX_SET_H_

#include <cstdint>
#include <vector>

#include "lossd/loss_spec.h"
#include "server/coverage/interval_set.h"

namespace lossd {

// A set of disjoint boxes of positions that can tell at once whether a new box overlaps one of
// them. Operations take O(log outer * log n) time whatever the order and the shapes of the boxes,
// but for a new node above others, which copies what it finds there. Boxes that fit together are
// merged, so that a tensor that arrives in order takes a handful of entries.
//
// How: a segment tree over the outer axis, its nodes made on demand. A box is split into the
// O(log outer) aligned ranges that make up its outer range; in the node of each its inner range is
// kept as an interval (`here`). Every node also keeps the union of the inner ranges of all boxes
// further down (`below`). A new box overlaps an old one exactly if, at one of the ranges it is
// split into, its inner range meets `here` of that node or of a node above it, or `below` of that
// node. Ranges in which there is nothing but one smaller range have no node: however long the outer
// axis is, scattered boxes take two nodes each and not one for each power of two.
class BoxSet {
 public:
  // Of positions with outer indices [0, outer).
  explicit BoxSet(int64_t outer);

  // Adds a box; false, and no change, if it overlaps one in the set. Precondition: the box is not
  // empty and inside the extents.
  bool Insert(const Box& box);

  // Nodes and intervals held: a measure of memory.
  static constexpr int64_t kBytesPerEntry = 60;  // some
  int64_t entries() const { return entries_; }

 private:
  static constexpr int32_t kNone = -1;
  // [begin, begin + span) of the outer axis: span is a power of two, begin a multiple of it.
  struct Range {
    uint64_t begin = 0;
    uint64_t span = 0;

    friend bool operator==(const Range&, const Range&) = default;
  };
  struct Node {
    Range range;
    int32_t child[2] = {kNone, kNone};  // each somewhere within its half
    IntervalSet here;
    IntervalSet below;
  };

  static Range Enclosing(uint64_t first, uint64_t last);
  static Range Half(const Range& range, int side);
  static bool Covers(const Box& box, const Range& range);
  static bool Meets(const Box& box, const Range& range);
  int64_t Weight(int32_t node) const;
  bool Overlaps(const Box& box, int32_t node) const;
  void Add(const Box& box, int32_t node);
  int32_t ChildFor(const Box& box, int32_t node, int side);
  void Lift(int64_t inner_begin, int32_t node);
  void DropEmptyChildren(int32_t node);
  void Free(int32_t node);
  int32_t NewNode(const Range& range);

  std::vector<Node> nodes_;
  std::vector<int32_t> free_;
  int32_t root_;
  int64_t entries_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_COVERAGE_BOX_SET_H_
