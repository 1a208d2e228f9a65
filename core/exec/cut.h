#ifndef LOSSD_CORE_EXEC_CUT_H_
#define LOSSD_CORE_EXEC_CUT_H_

#include <cstdint>

#include "core/plan/loss_plan.h"

namespace lossd {

// Elements of a unit: a fraction of a millisecond of work, so that a stopped request ends soon and
// threads end together. Large boxes are cut less finely: each unit has a first and a last row,
// which have no neighbour to overlap with.
inline constexpr int64_t kUnitElements = int64_t{1} << 18;
inline constexpr int64_t kLargeUnitElements = int64_t{1} << 20;
inline constexpr int64_t kLargeBoxElements = int64_t{1} << 23;

// How a box is cut into units of work: by its shape and whether its predictions lie in one piece.
// No result depends on it.
struct Cut {
  bool rows;            // inner extent 1: positions are contiguous rows
  int64_t positions;    // positions that a unit counts along: rows, or lanes of one outer index
  int64_t planes;       // outer indices, if those are lanes; else 1
  int64_t unit;         // positions of a unit along each of its planes
  int64_t tile;         // positions of which everything that is kept stays in the cache
  int64_t stretch;      // positions given to Runner::run at once: a tile, or several
  int64_t unit_planes;  // planes of a unit; more than one only if they are whole
  int64_t units_per_plane;
  int64_t units;
};

// Into units and tiles; each stretch is a tile.
Cut CutIntoTiles(const LossPlan& plan, const Box& box);

// The same, but several tiles of rows make a stretch: for runners that keep a few numbers of a row,
// and nothing of its classes.
Cut CutIntoLongStretches(const LossPlan& plan, const Box& box);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_CUT_H_
