#include "core/kernels/targets.h"

#include "core/kernels/kernels.h"
#include "core/kernels/tables.h"
#include "hwy/highway.h"
#include "hwy/targets.h"

namespace lossd::kernels {
namespace {

KernelSet MakeTable() {
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  KernelSet set;
  AddSoftmaxRows(set);
  AddFusedRows(set);
  AddSoftmaxTiles(set);
  AddPointwise(set);
  AddPositions(set);
  AddElements(set);
  AddRowHeads(set);
  AddLabelHead(set);
  AddPolicyHead(set);
  AddLogits(set);
  AddSequences(set);
  return set;
}

KernelSet& Table() {
  static KernelSet table = MakeTable();
  return table;
}

// Targets compiled in that this CPU runs, as Highway's bits, best (lowest) first.
std::vector<int64_t> TargetBits() {
  hwy::SetSupportedTargetsForTest(0);  // forgets a forced target
  const int64_t usable = hwy::SupportedTargets() & HWY_TARGETS;
  std::vector<int64_t> bits;
  for (int64_t bit = 1; bit > 0; bit <<= 1) {
    if (usable & bit) bits.push_back(bit);
  }
  return bits;
}

}  // namespace

const KernelSet& Active() { return Table(); }

std::string ActiveTarget() { return Active().name; }

std::vector<std::string> SupportedTargets() {
  const std::string active = ActiveTarget();
  std::vector<std::string> names;
  for (const int64_t bit : TargetBits()) names.emplace_back(hwy::TargetName(bit));
  return names;
}

bool ForceTarget(std::string_view name) {
  for (const int64_t bit : TargetBits()) {
    if (name != hwy::TargetName(bit)) continue;
    KernelSet& table = Table();
    hwy::SetSupportedTargetsForTest(bit);
    table = MakeTable();
    hwy::SetSupportedTargetsForTest(0);
    return true;
  }
  return false;
}

}  // namespace lossd::kernels
