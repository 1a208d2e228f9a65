#ifndef LOSSD_CLIENT_CALL_BLOCK_PLAN_H_
#define LOSSD_CLIENT_CALL_BLOCK_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "client/call/geometry.h"
#include "lossd/loss_spec.h"

namespace lossd {

// How a tensor is cut into the blocks of a stream. Depends on shape and aimed-at size alone: whole
// planes [classes][inner] while one fits into `block_bytes`, else ranges of inner positions of one
// plane (at least one position each). Blocks are numbered in memory order.
class BlockPlan {
 public:
  BlockPlan(const Geometry& geometry, int64_t block_bytes);

  int64_t count() const { return count_; }

  // The positions of the largest block.
  int64_t max_positions() const { return std::min(planes_, outer_) * std::min(run_, inner_); }

  // Precondition: 0 <= index < count().
  Box At(int64_t index) const;

  // The index of a block; nullopt for a box that is none.
  std::optional<int64_t> IndexOf(const Box& box) const;

  // Boxes that cover exactly the blocks which are not `answered` (one flag per block), adjacent
  // ones merged.
  std::vector<Box> Missing(const std::vector<bool>& answered) const;

 private:
  int64_t outer_;
  int64_t inner_;
  int64_t planes_;     // per block; 1 where planes are cut
  int64_t run_;        // inner positions per block
  int64_t per_plane_;  // blocks of one plane; 1 where planes are whole
  int64_t count_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_BLOCK_PLAN_H_
