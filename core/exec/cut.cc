#include "core/exec/cut.h"

#include <algorithm>

#include "core/kernels/kernels.h"

namespace lossd {
namespace {

// What is gathered, turned around or kept of a tile stays in the second-level cache.
constexpr int64_t kTileElements = int64_t{1} << 14;
// So does what is kept of each position, 150 bytes or so.
constexpr int64_t kStretchPositions = 4096;
constexpr int64_t kMostTilePositions = 1024;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

Cut CutIntoTiles(const LossPlan& plan, const Box& box) {
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
  cut.stretch = cut.tile;
  cut.unit_planes = std::max<int64_t>(cut.unit / std::max<int64_t>(cut.positions, 1), 1);
  cut.units_per_plane = (cut.positions + cut.unit - 1) / cut.unit;
  cut.units = (cut.planes + cut.unit_planes - 1) / cut.unit_planes * cut.units_per_plane;
  return cut;
}

Cut CutIntoLongStretches(const LossPlan& plan, const Box& box) {
  Cut cut = CutIntoTiles(plan, box);
  if (cut.rows) cut.stretch = std::min(cut.unit, std::max(cut.tile, kStretchPositions));
  return cut;
}

}  // namespace lossd
