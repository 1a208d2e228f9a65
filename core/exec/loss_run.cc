#include "core/exec/loss_run.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "core/exec/box_run.h"
#include "core/exec/count_elements.h"
#include "core/exec/label_lists.h"
#include "core/exec/run_state.h"
#include "core/exec/sequences.h"
#include "core/exec/softmax_options.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

// Positions looked at by one unit of Prepare.
constexpr int64_t kPositionsPerUnit = int64_t{1} << 16;

// What the targets and weights of some positions say.
struct TargetSums {
  int64_t valid_count = 0;
  ExactSum weight_sum;
  int64_t first_bad_label = -1;
  int64_t first_bad_weight = -1;
};

void SumLabels(const RunState& run, int64_t begin, absl::Span<const int32_t> labels,
               bool need_weights, TargetSums& sums) {
  int32_t valid = 0;
  int32_t bad = 0;
  for (const int32_t y : labels) valid += y >= 0 ? 1 : 0;
  for (const int32_t y : labels) bad += y == kernels::kInvalidLabel ? 1 : 0;
  sums.valid_count += valid;
  if (bad > 0 && sums.first_bad_label < 0) {
    const auto* const first = std::find(labels.begin(), labels.end(), kernels::kInvalidLabel);
    sums.first_bad_label = begin + (first - labels.begin());
  }
  const int64_t inner = run.plan.inner();
  for (size_t i = 0; need_weights && i < labels.size(); ++i) {
    if (labels[i] < 0) continue;
    const auto p = begin + static_cast<int64_t>(i);
    sums.weight_sum.Add(run.PositionWeight(p) *
                        run.class_weights.At(p / inner, labels[i], p % inner));
  }
}

TargetSums SumTargets(const RunState& run, int64_t begin, int64_t count, bool need_weights) {
  TargetSums sums;
  const auto& weights = run.plan.tensors().position_weights;
  for (int64_t p = begin; weights && p < begin + count; ++p) {
    const double q = run.PositionWeight(p);
    if (q >= 0 && !std::isinf(q)) continue;
    sums.first_bad_weight = p;
    break;
  }
  if (!run.hard_targets()) return sums;
  constexpr int64_t kLabels = 1024;
  int32_t labels[kLabels];
  for (int64_t p = begin; p < begin + count; p += kLabels) {
    const int64_t n = std::min(kLabels, begin + count - p);
    run.labels.Read(p, n, labels);
    SumLabels(run, p, {labels, static_cast<size_t>(n)}, need_weights, sums);
  }
  return sums;
}

absl::Status BadLabel(const RunState& run, int64_t position) {
  const std::vector<int64_t>& ignored = run.plan.spec().ignore_labels;
  return absl::InvalidArgumentError(absl::StrCat(
      "class_indices[", position, "] is ", run.labels.ValueString(position),
      "; wanted a label in 0..", run.plan.classes() - 1,
      ignored.empty() ? "" : " or one of ignore_labels ", absl::StrJoin(ignored, ", ")));
}

// The sum of so many equal sums, at the cost of some dozen: shapes alone decide how many they are.
ExactSum Times(int64_t count, ExactSum once) {
  ExactSum sum;
  for (; count > 0; count /= 2) {
    if (count % 2 == 1) sum.Merge(once);
    const ExactSum same = once;
    once.Merge(same);
  }
  return sum;
}

// Of the classes of all groups.
ExactSum WeightOfGroups(const RunState& run) {
  ExactSum of_group;
  if (run.class_weights.given()) {
    for (int64_t k = 0; k < run.plan.classes(); ++k) of_group.Add(run.class_weights.At(0, k, 0));
  } else {
    of_group.Add(1);
    of_group = Times(run.plan.classes(), of_group);
  }
  return Times(run.plan.groups()->count, of_group);
}

// Checks labels and position weights, and counts. Positions are looked at only where they have one
// of the two, which takes as many bytes at least: a shape alone, which costs nothing to declare,
// costs nothing here.
absl::StatusOr<TargetSums> CheckTargets(const RunState& run, Executor& executor, StopToken stop) {
  const int64_t positions = run.plan.weighed_positions();
  const bool looked_at = run.hard_targets() || run.plan.tensors().position_weights.has_value();
  const int64_t units = looked_at ? (positions + kPositionsPerUnit - 1) / kPositionsPerUnit : 0;
  const bool need_weights = run.plan.weighs_targets();
  absl::InlinedVector<TargetSums, 1> parts(units);
  LOSSD_RETURN_IF_ERROR(executor.ForEach(units, stop, [&](int64_t unit) {
    const int64_t begin = unit * kPositionsPerUnit;
    parts[unit] =
        SumTargets(run, begin, std::min(kPositionsPerUnit, positions - begin), need_weights);
  }));
  TargetSums whole;
  if (!run.hard_targets()) whole.valid_count = positions;
  for (const TargetSums& part : parts) {
    if (part.first_bad_label >= 0) return BadLabel(run, part.first_bad_label);
    whole.valid_count += part.valid_count;
    whole.weight_sum.Merge(part.weight_sum);
  }
  for (const TargetSums& part : parts) {
    if (part.first_bad_weight < 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("position_weights[", part.first_bad_weight, "] is ",
                     run.PositionWeight(part.first_bad_weight), "; wanted a finite number >= 0"));
  }
  const Family family = FactsOf(run.plan.spec().loss).family;
  if (run.plan.of_elements()) {
    LOSSD_ASSIGN_OR_RETURN(const CountedElements counted, CountElements(run, executor, stop));
    whole.valid_count = counted.count;
    whole.weight_sum = counted.weight;
  } else if (run.plan.groups()) {
    whole.valid_count = run.plan.counted_positions();
    if (need_weights) whole.weight_sum = WeightOfGroups(run);
  } else if (need_weights && (family == Family::kRows || family == Family::kSequences) &&
             !run.hard_targets()) {
    // Targets of rows and sequences weigh nothing beside q.
    if (!run.plan.tensors().position_weights) {
      whole.weight_sum.Add(static_cast<double>(positions));
    } else {
      for (int64_t p = 0; p < positions; ++p) whole.weight_sum.Add(run.PositionWeight(p));
    }
  } else if (need_weights && !run.hard_targets()) {
    LOSSD_ASSIGN_OR_RETURN(whole.weight_sum, WeightOfTargets(run, executor, stop));
  }
  return whole;
}

// The costs in double, those of one class of the predictions after the other.
absl::Status SetGroundMetric(RunState& run, StopToken stop) {
  const auto& desc = run.plan.tensors().ground_metric;
  if (!desc) return absl::OkStatus();
  const int64_t classes = run.plan.classes();
  const kernels::Real real = RealOf(desc->dtype);
  const bool row_major = desc->layout == Layout::kRowMajor;
  run.ground_metric.resize(classes * classes + kernels::kGroup);
  for (int64_t i = 0; i < classes && !stop.stop_requested(); ++i) {
    for (int64_t j = 0; j < classes; ++j) {
      const int64_t at = row_major ? i * classes + j : j * classes + i;
      const double cost = LoadReal(real, run.side.ground_metric.data(), at);
      run.ground_metric[i * classes + j] = cost;
      if (cost >= 0 && !std::isinf(cost)) continue;
      return absl::InvalidArgumentError(absl::StrCat("ground_metric[", i, ",", j, "] is ", cost,
                                                     "; wanted a finite number >= 0"));
    }
  }
  return stop.Check();
}

absl::Status CheckPosWeight(const RunState& run, StopToken stop) {
  const auto& desc = run.plan.tensors().pos_weight;
  if (!desc) return absl::OkStatus();
  for (int64_t k = 0; kernels::GoesOn(k, desc->shape.front(), stop.flag()); ++k) {
    const double p = LoadReal(RealOf(desc->dtype), run.side.pos_weight.data(), k);
    if (p >= 0 && !std::isinf(p)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("pos_weight[", k, "] is ", p, "; wanted a finite number >= 0"));
  }
  return stop.Check();
}

absl::string_view NameOf(Reduction data_decides) {
  if (data_decides == Reduction::kGiven) return "GIVEN";
  return data_decides == Reduction::kWeightSum ? "WEIGHT_SUM" : "VALID";
}

// D of LossPlan::fixed_denominator, or of what the targets say.
absl::StatusOr<double> Denominator(const LossPlan& plan, const TargetSums& sums) {
  if (plan.fixed_denominator()) return *plan.fixed_denominator();
  const Reduction reduction = plan.spec().reduction;
  const double d =
      plan.weighs_targets() ? sums.weight_sum.Round() : static_cast<double>(sums.valid_count);
  if (reduction == Reduction::kGiven && d != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("denominator is 0, and the targets weigh ", d,
                     "; wanted a finite number > 0, or targets of which none counts"));
  }
  if (d == 0 && plan.spec().all_ignored_policy == AllIgnoredPolicy::kError) {
    return absl::InvalidArgumentError(absl::StrCat(
        "reduction ", NameOf(reduction), " has denominator 0 over ", plan.counted_positions(),
        " positions; all_ignored_policy ERROR wants at least one that counts"));
  }
  return d;
}

}  // namespace

struct LossRun::Impl {
  RunState state;
};

LossRun::LossRun(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LossRun::LossRun(LossRun&&) noexcept = default;
LossRun& LossRun::operator=(LossRun&&) noexcept = default;
LossRun::~LossRun() = default;

absl::StatusOr<LossRun> LossRun::Prepare(LossPlan plan, const SideBytes& side, Executor& executor,
                                         StopToken stop) {
  RunState state{.plan = std::move(plan), .side = side, .labels = {}, .class_weights = {}};
  const LossTensorDescs& tensors = state.plan.tensors();
  if (state.hard_targets()) {
    state.labels = Labels(tensors.targets.dtype, side.targets, state.plan.classes(),
                          state.plan.spec().ignore_labels);
  }
  LOSSD_ASSIGN_OR_RETURN(state.class_weights,
                         ClassWeights::Make(state.plan, side.class_weights, executor, stop));
  LOSSD_RETURN_IF_ERROR(CheckPosWeight(state, stop));
  if (state.plan.sequences()) LOSSD_RETURN_IF_ERROR(CheckSequences(state, executor, stop));
  if (state.plan.slots() > 0) LOSSD_RETURN_IF_ERROR(CheckLabelLists(state, executor, stop));
  LOSSD_RETURN_IF_ERROR(SetGroundMetric(state, stop));
  if (state.plan.of_elements() && state.plan.in_one_box()) {
    LOSSD_ASSIGN_OR_RETURN(state.sequence_ends, TokenSequences(state));
  }
  LOSSD_ASSIGN_OR_RETURN(const TargetSums sums, CheckTargets(state, executor, stop));
  LOSSD_ASSIGN_OR_RETURN(state.denominator, Denominator(state.plan, sums));
  LOSSD_RETURN_IF_ERROR(SetSoftmaxOptions(state));
  return LossRun(std::make_unique<Impl>(Impl{std::move(state)}));
}

const LossPlan& LossRun::plan() const { return impl_->state.plan; }
double LossRun::denominator() const { return impl_->state.denominator; }

absl::StatusOr<PartialSums> LossRun::RunBox(const Box& box, const BoxInputs& in,
                                            const LossOutputs& out, Executor& executor,
                                            StopToken stop) const {
  return lossd::RunBox(impl_->state, box, in, out, executor, stop);
}

LossResult LossRun::Finish(const PartialSums& sums) const {
  const bool nan =
      !plan().fixed_denominator() && plan().spec().all_ignored_policy == AllIgnoredPolicy::kNan;
  return LossResult::From(sums, denominator(), nan ? kNaN : 0, plan().outputs().argmax_hits);
}

}  // namespace lossd
