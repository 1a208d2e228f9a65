#ifndef LOSSD_SERVER_COVERAGE_BOX_COVERAGE_H_
#define LOSSD_SERVER_COVERAGE_BOX_COVERAGE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lossd/loss_spec.h"
#include "server/coverage/box_set.h"
#include "server/coverage/declared_boxes.h"

namespace lossd {

// Keeps book of which positions of a call have arrived, so that every position is computed exactly
// once or the call fails. O(log) time per block, in any order of blocks.
class BoxCoverage {
 public:
  // Entries (see BoxSet) at which a call is refused: bounds what a flood of scattered one-position
  // blocks can cost. A tensor in order takes a handful, 16384 blocks in random order some 65 000.
  static constexpr int64_t kMaxEntries = 1 << 20;

  // The boxes that are to come, of positions with outer indices [0, outer). kInvalidArgument if two
  // overlap. Time and memory are in proportion to the boxes (DeclaredBoxes). Precondition: none is
  // empty, all are inside the extents.
  static absl::StatusOr<BoxCoverage> Make(int64_t outer, std::vector<Box> declared);

  // A block arrives. kInvalidArgument, and no change, unless it lies inside one of the declared
  // boxes and overlaps no earlier block; kResourceExhausted at kMaxEntries. Same precondition.
  absl::Status Add(const Box& block);

  // kInvalidArgument that names a declared box of which positions are missing; OK if there is none.
  absl::Status Complete() const;

  int64_t declared_positions() const { return declared_positions_; }

  // Bytes that Make takes for `boxes`, and that are held now. A block adds kMostOfABlock at most.
  static constexpr int64_t kMostOfABlock = 32 << 10;
  static int64_t BytesOf(int64_t boxes) {
    return boxes * (2 * DeclaredBoxes::kBytesPerBox + static_cast<int64_t>(sizeof(int64_t)));
  }
  int64_t bytes() const {
    return BytesOf(static_cast<int64_t>(covered_.size())) +
           BoxSet::kBytesPerEntry * arrived_.entries();
  }

 private:
  BoxCoverage(DeclaredBoxes declared, int64_t outer);

  DeclaredBoxes declared_;
  std::vector<int64_t> covered_;  // positions that arrived, by declared box
  BoxSet arrived_;
  int64_t declared_positions_ = 0;
  int64_t arrived_positions_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_COVERAGE_BOX_COVERAGE_H_
