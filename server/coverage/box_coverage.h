#ifndef LOSSD_SERVER_COVERAGE_BOX_COVERAGE_H_
#define LOSSD_SERVER_COVERAGE_BOX_COVERAGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lossd/loss_spec.h"
#include "server/coverage/box_set.h"

namespace lossd {

// "outer 3..5, inner 0..512" (half-open).
std::string BoxString(const Box& box);

// Keeps book of which positions of a call have arrived, so that every position is computed exactly
// once or the call fails. O(log) time per block, in any order of blocks.
class BoxCoverage {
 public:
  // Entries (see BoxSet) at which a call is refused: bounds what a flood of scattered one-position
  // blocks can cost. A tensor in order takes a handful, 16384 blocks in random order some 300 000.
  static constexpr int64_t kMaxEntries = 1 << 20;

  // The boxes that are to come, of positions [0, outer) by [0, inner). kInvalidArgument if two
  // overlap, kResourceExhausted at kMaxEntries. Precondition: none is empty, all are inside the
  // extents.
  static absl::StatusOr<BoxCoverage> Make(int64_t outer, int64_t inner, std::vector<Box> declared);

  // A block arrives. kInvalidArgument, and no change, unless it lies inside one of the declared
  // boxes and overlaps no earlier block; kResourceExhausted at kMaxEntries. Same precondition.
  absl::Status Add(const Box& block);

  // kInvalidArgument that names a declared box of which positions are missing; OK if there is none.
  absl::Status Complete() const;

  int64_t declared_positions() const { return declared_positions_; }

 private:
  BoxCoverage(int64_t outer, int64_t inner) : boxes_(outer, inner), arrived_(outer, inner) {}

  std::vector<Box> declared_;
  std::vector<int64_t> covered_;  // positions that arrived, by declared box
  BoxSet boxes_;                  // declared_, tagged with the index
  BoxSet arrived_;                // blocks, all with tag 0
  int64_t declared_positions_ = 0;
  int64_t arrived_positions_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_COVERAGE_BOX_COVERAGE_H_
