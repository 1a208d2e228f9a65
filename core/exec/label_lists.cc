#include "core/exec/label_lists.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/exec/whole_numbers.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

constexpr int64_t kPositionsPerUnit = int64_t{1} << 14;

// Where the labels of a position, and their shares, lie.
struct Slots {
  explicit Slots(const LossPlan& plan)
      : count(plan.slots()),
        is_last(plan.tensors().targets.layout == Layout::kRowMajor),
        positions(plan.positions()) {}

  int64_t At(int64_t position, int64_t slot) const {
    return is_last ? position * count + slot : slot * positions + position;
  }

  int64_t count;
  bool is_last;
  int64_t positions;
};

// The first element that is no label, at positions begin .. end - 1; -1 where there is none.
int64_t FirstBadLabel(const RunState& run, int64_t begin, int64_t end) {
  const Slots slots(run.plan);
  return VisitElements(run.plan.tensors().targets.dtype, run.side.targets,
                       [&](auto value_at) -> int64_t {
                         for (int64_t p = begin; p < end; ++p) {
                           for (int64_t j = 0; j < slots.count; ++j) {
                             int64_t label = 0;
                             const bool whole = ToWhole(value_at(slots.At(p, j)), &label);
                             if (!whole || label >= run.plan.classes()) return slots.At(p, j);
                             if (label < 0 && !run.plan.sparse_targets()) break;
                           }
                         }
                         return -1;
                       });
}

}  // namespace

absl::Status CheckLabelLists(const RunState& run, Executor& executor, StopToken stop) {
  const int64_t positions = run.plan.positions();
  std::vector<int64_t> bad((positions + kPositionsPerUnit - 1) / kPositionsPerUnit, -1);
  LOSSD_RETURN_IF_ERROR(executor.ForEach(static_cast<int64_t>(bad.size()), stop, [&](int64_t unit) {
    const int64_t begin = unit * kPositionsPerUnit;
    bad[unit] = FirstBadLabel(run, begin, std::min(positions, begin + kPositionsPerUnit));
  }));
  const auto first = std::find_if(bad.begin(), bad.end(), [](int64_t at) { return at >= 0; });
  if (first == bad.end()) return absl::OkStatus();
  const std::string value =
      ElementString(run.plan.tensors().targets.dtype, run.side.targets, *first);
  return absl::InvalidArgumentError(absl::StrCat(
      "class_indices[", *first, "] is ", value, "; wanted a label in 0..", run.plan.classes() - 1,
      run.plan.sparse_targets() ? ", or one < 0 where there is none"
                                : ", or one < 0 where the list ends"));
}

void SpreadSparseTargets(const RunState& run, int64_t first, int64_t count, kernels::Stop stop,
                         double* rows) {
  const Slots slots(run.plan);
  const int64_t classes = run.plan.classes();
  const kernels::Real real = RealOf(run.plan.tensors().sparse_probabilities->dtype);
  for (int64_t p = 0; p < count && !kernels::Stopped(stop); ++p) {
    std::fill_n(rows + p * classes, classes, 0.0);
  }
  VisitElements(run.plan.tensors().targets.dtype, run.side.targets, [&](auto value_at) {
    for (int64_t p = 0; p < count && !kernels::Stopped(stop); ++p) {
      for (int64_t j = 0; j < slots.count; ++j) {
        const int64_t at = slots.At(first + p, j);
        const auto label = static_cast<int64_t>(value_at(at));
        if (label < 0) continue;
        rows[p * classes + label] += LoadReal(real, run.side.sparse_probabilities.data(), at);
      }
    }
  });
}

int64_t ReadLabelList(const RunState& run, int64_t position, double* labels) {
  const Slots slots(run.plan);
  return VisitElements(
      run.plan.tensors().targets.dtype, run.side.targets, [&](auto value_at) -> int64_t {
        int64_t count = 0;
        for (; count < slots.count; ++count) {
          const auto label = static_cast<double>(value_at(slots.At(position, count)));
          if (label < 0) break;
          labels[count] = label;
        }
        return count;
      });
}

}  // namespace lossd
