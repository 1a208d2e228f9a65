#ifndef LOSSD_CORE_EXEC_CUT_H_
#define LOSSD_CORE_EXEC_CUT_H_

#include <cstdint>

#include "core/kernels/kernels.h"
#include "core/plan/loss_plan.h"

namespace lossd {

// How a box is cut into units of work: by its shape and whether its predictions lie in one piece.
// No result depends on it.
struct Cut {
  bool rows;            // inner extent 1: positions are contiguous rows
  int64_t positions;    // positions that a unit counts along: rows, or lanes of one outer index
  int64_t planes;       // outer indices, if those are lanes; else 1
  int64_t unit;         // positions of a unit along each of its planes
  int64_t tile;         // positions given to a kernel at once
  int64_t stretch;      // positions given to RunStretch at once: a tile, or several
  int64_t unit_planes;  // planes of a unit; more than one only if they are whole
  int64_t units_per_plane;
  int64_t units;
};

Cut CutBox(const LossPlan& plan, const Box& box, bool one_piece);

// Whether lanes across positions are run by RunSoftmaxTiles.
bool IsTiled(const LossPlan& plan);

// Whether one pass over the predictions gives all that is wanted: it leaves neither exponentials
// nor, in place, predictions behind.
bool OnePassSuffices(const LossPlan& plan);

// Positions of a tile of which nothing is kept but what belongs to its positions. Its first and its
// last block have no neighbour to overlap with.
inline constexpr int64_t kLongTile = 2048;

// Blocks of exponentials that a tile of `width` positions needs: one being loaded, one reduced and
// one written, or all.
constexpr int64_t BlocksKept(int64_t width, bool one_pass) {
  const int64_t blocks = (width + kernels::kTileBlock - 1) / kernels::kTileBlock;
  return one_pass && blocks > 3 ? 3 : blocks;
}

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_CUT_H_
