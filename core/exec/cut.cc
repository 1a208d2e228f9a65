#include "core/exec/cut.h"

#include <algorithm>

#include "core/exec/family.h"

namespace lossd {
namespace {

// Elements of a unit: a fraction of a millisecond of work, so that a stopped request ends soon and
// threads end together. Large boxes are cut less finely: each unit has a first and a last row,
// which have no neighbour to overlap with.
constexpr int64_t kUnitElements = int64_t{1} << 18;
constexpr int64_t kLargeUnitElements = int64_t{1} << 20;
constexpr int64_t kLargeBoxElements = int64_t{1} << 23;
// What is gathered, turned around or kept of a tile stays in the second-level cache.
constexpr int64_t kTileElements = int64_t{1} << 14;
// So does what is kept of each position, 150 bytes or so.
constexpr int64_t kStretchPositions = 4096;
constexpr int64_t kMostTilePositions = 1024;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

bool IsTiled(const LossPlan& plan) {
  return plan.one_class() && FamilyOf(plan.spec().loss) == Family::kSoftmax && plan.inner() > 1;
}

bool OnePassSuffices(const LossPlan& plan) {
  const OutputSet& wanted = plan.outputs();
  return plan.one_class() && wanted.gradient && !wanted.probabilities && !wanted.argmax_hits &&
         plan.gradient_dtype() == plan.dtype();
}

Cut CutBox(const LossPlan& plan, const Box& box, bool one_piece) {
  Cut cut;
  const int64_t classes = plan.classes();
  const int64_t positions = box.outer_count * box.inner_count;
  const bool large = positions >= kLargeBoxElements / classes;
  cut.rows = plan.inner() == 1;
  cut.positions = cut.rows ? box.outer_count : box.inner_count;
  cut.planes = cut.rows ? 1 : box.outer_count;
  const int64_t grain = cut.rows ? 1 : 4 * kernels::kGroup;
  cut.tile = std::clamp<int64_t>(kTileElements / classes, 1, kMostTilePositions);
  if (!cut.rows) cut.tile = RoundUp(cut.tile, grain);
  const int64_t elements = large ? kLargeUnitElements : kUnitElements;
  cut.unit = RoundUp(std::max<int64_t>(elements / classes, 1), cut.tile);
  // Rows with one label each are computed two at a time, and where they lie: nothing to be
  // gathered. Tiles of lanes are cut where they are run.
  const bool row_by_row = cut.rows && plan.one_class() && one_piece;
  cut.stretch = IsTiled(plan) ? cut.unit
                : row_by_row  ? std::min(cut.unit, std::max(cut.tile, kStretchPositions))
                              : cut.tile;
  cut.unit_planes = std::max<int64_t>(cut.unit / std::max<int64_t>(cut.positions, 1), 1);
  cut.units_per_plane = (cut.positions + cut.unit - 1) / cut.unit;
  cut.units = (cut.planes + cut.unit_planes - 1) / cut.unit_planes * cut.units_per_plane;
  return cut;
}

}  // namespace lossd
