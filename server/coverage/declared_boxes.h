#ifndef LOSSD_SERVER_COVERAGE_DECLARED_BOXES_H_
#define LOSSD_SERVER_COVERAGE_DECLARED_BOXES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lossd/loss_spec.h"

namespace lossd {

// "outer 3..5, inner 0..512" (half-open).
std::string BoxString(const Box& box);

// Disjoint boxes that are all known beforehand, and which of them holds a position. Memory is in
// proportion to their number (kBytesPerBox), whatever their shapes and the extents are; so is the
// time of Make, but for a logarithm.
//
// How: an interval tree over the outer axis. A node stands for one outer index, and holds the boxes
// whose outer range has that index in it; boxes before it are further down on one side, boxes
// behind it on the other. Boxes of one node share an outer index, so their inner ranges are
// disjoint: sorted by those, one bisection finds the only one that can hold a position.
class DeclaredBoxes {
 public:
  // The most that is held for each box; Make takes as much again while it runs.
  static constexpr int64_t kBytesPerBox = 64;

  // kInvalidArgument names a box that overlaps an earlier one. Precondition: none is empty, and
  // there are fewer than 2^31.
  static absl::StatusOr<DeclaredBoxes> Make(std::vector<Box> boxes);

  // The index of the box that holds a position.
  std::optional<int32_t> Find(int64_t outer, int64_t inner) const;

  const std::vector<Box>& boxes() const { return boxes_; }

 private:
  static constexpr int32_t kNone = -1;
  struct Node {
    int64_t outer;
    int32_t side[2];  // nodes of the boxes before and behind `outer`
    int32_t begin;    // its boxes in order_
    int32_t end;
  };

  explicit DeclaredBoxes(std::vector<Box> boxes) : boxes_(std::move(boxes)) {}

  absl::Status CheckDisjoint() const;
  int32_t MakeNode(int32_t begin, int32_t end);

  std::vector<Box> boxes_;
  std::vector<int32_t> order_;  // indices, node by node, by the inner range within a node
  std::vector<Node> nodes_;
  int32_t root_ = kNone;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_COVERAGE_DECLARED_BOXES_H_
