// Losses of Family::kRows: each position's classes in a row, in double.
//
//   cut      a tile of rows at a time; lanes are turned into rows
//   scratch  the rows as they were gathered, and eleven numbers of each class of one row
//   run      widens a row, calls the loss's head, scales its slopes

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <variant>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "core/exec/cut.h"
#include "core/exec/label_lists.h"
#include "core/exec/position_sums.h"
#include "core/exec/rows.h"
#include "core/exec/runner.h"
#include "core/exec/visit_elements.h"
#include "core/kernels/row_heads-inl.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::Real;

constexpr int kRowArrays = 11;

Cut CutRows(const LossPlan& plan, const Box& box, bool) { return CutIntoTiles(plan, box); }

int64_t ScratchBytes(const LossPlan& plan, bool) {
  const Cut cut = CutIntoTiles(plan, plan.whole());
  return RowTileBytes(plan, cut) + kRowArrays * 8 * plan.classes();
}

Compute ComputeType(const LossPlan&) { return Compute::kDouble; }

// The head of a loss, and its options.
struct HeadOf {
  kernels::RowBody body = nullptr;
  absl::InlinedVector<double, 4 + kernels::kGroup> options;
};

// A loss of the family without a head does not compile.
HeadOf FindHead(const Loss& loss) {
  return std::visit(
      []<class L>(const L& of) {
        HeadOf found;
        if constexpr (MayBeOf<L>(Family::kRows)) {
          constexpr int kHead = kernels::HWY_NAMESPACE::RowHeadIndex(LossRow<L>::kName);
          static_assert(kHead < kernels::HWY_NAMESPACE::kRowHeads);
          found.body = kernels::Active().row_heads[kHead];
          ForEachOption<L>([&]<class T>(const Option<L, T>& option) {
            const T& value = of.*option.member;
            if constexpr (std::is_same_v<T, std::vector<double>>) {
              found.options.assign(value.begin(), value.end());
            } else {
              OptionNumbers(value, [&found](double number) { found.options.push_back(number); });
            }
          });
          found.options.resize(found.options.size() +
                               kernels::kGroup);  // heads read whole registers
        }
        return found;
      },
      loss);
}

class RowRun {
 public:
  RowRun(const BoxJob& job, const Rows& rows, Workspace& work, UnitSums& unit)
      : job_(job),
        plan_(job.run.plan),
        rows_(rows),
        work_(work),
        unit_(unit),
        classes_(job.classes()),
        head_(FindHead(plan_.spec().loss)) {
    const int64_t stride = classes_ + kernels::kGroup;
    double* at = work.exact.Get<double>(kRowArrays * stride);
    for (double** array : {&x_, &t_, &second_, &weight_, &slope_, &second_slope_, &terms_,
                           &scratch_[0], &scratch_[1], &scratch_[2], &scratch_[3]}) {
      *array = at;
      at += stride;
    }
  }

  void Run() {
    work_.positions.Load(job_.run, rows_.first_position, rows_.count, WeightOf::kLabel);
    auto* const loss = work_.losses.Get<double>(rows_.count);
    for (int64_t r = 0; r < rows_.count && !kernels::Stopped(job_.stop); ++r) {
      loss[r] = RunRow(r) * work_.positions.weight[r];
    }
    AddPositions(job_, work_.positions, rows_.first_output, loss, work_.positions.weight.data(),
                 unit_);
  }

 private:
  void Widen(const std::byte* rows, DType dtype, int64_t row, double* out) const {
    const int64_t bytes = classes_ * SizeOf(dtype);
    const ByteSpan from(rows + row * bytes, bytes);
    if (IsFloating(dtype)) {
      kernels::Active().widen[Index(Compute::kDouble)][Index(RealOf(dtype))](from.data(), classes_,
                                                                             out);
      return;
    }
    VisitElements(dtype, from, [&](auto value_at) {
      for (int64_t k = 0; k < classes_; ++k) out[k] = static_cast<double>(value_at(k));
    });
  }

  double RunRow(int64_t r) {
    const LossTensorDescs& tensors = plan_.tensors();
    const int32_t label = work_.positions.label[r];
    if (label < 0) {
      WriteGradients(r, 0);
      return 0;
    }
    Widen(rows_.predictions, plan_.dtype(), r, x_);
    if (rows_.targets) Widen(rows_.targets, tensors.targets.dtype, r, t_);
    if (rows_.second) Widen(rows_.second, tensors.second_predictions->dtype, r, second_);
    const int64_t p = rows_.first_position + r;
    if (!ReadTarget(p)) return kNaN;
    const bool by_class = job_.run.class_weights.given() && !job_.run.hard_targets();
    for (int64_t k = 0; by_class && k < classes_; ++k) {
      weight_[k] = job_.run.class_weights.At(p / plan_.inner(), k, p % plan_.inner());
    }
    bool clamped = false;
    const double loss = head_.body(Arguments(p, label, by_class ? weight_ : nullptr, &clamped));
    if (clamped) ++unit_.sums.clamped_count;
    const bool by_targets = (rows_.targets != nullptr && HasNan(t_)) || std::isnan(target_);
    if (std::isnan(loss) && !by_targets) unit_.CountNonFinite(p);
    // An infinite loss has no slope.
    if (!std::isfinite(loss)) {
      if (!std::isnan(loss)) unit_.CountNonFinite(p);
      std::fill_n(slope_, classes_, kNaN);
      std::fill_n(second_slope_, classes_, kNaN);
    }
    WriteGradients(r, work_.positions.gradient[r] * work_.positions.weight[r]);
    return OneNaN(loss);
  }

  // Of a loss with one target for each position; false where it has none of the wanted values.
  bool ReadTarget(int64_t position) {
    if (!plan_.one_target()) return true;
    target_ = VisitElements(plan_.tensors().targets.dtype, job_.run.side.targets,
                            [&](auto value_at) { return static_cast<double>(value_at(position)); });
    const bool any = TargetsOf(plan_.spec().loss) == TargetRange::kAny;
    if (any || std::isnan(target_) || std::fabs(target_) == 1) return true;
    unit_.RefuseTarget(position, target_);
    return false;
  }

  kernels::RowArrays Arguments(int64_t position, int32_t label, const double* weight,
                               bool* clamped) {
    const bool lists = FactsOf(plan_.spec().loss).label_lists;
    return {.x = x_,
            .t = t_,
            .second = second_,
            .weight = weight,
            .classes = classes_,
            .label = label,
            .target = target_,
            .labels = scratch_[0],
            .label_count = lists ? ReadLabelList(job_.run, position, scratch_[0]) : 0,
            .metric = job_.run.ground_metric.data(),
            .options = head_.options.data(),
            .stop = job_.stop,
            .slope = slope_,
            .second_slope = second_slope_,
            .terms = terms_,
            .scratch = {scratch_[0], scratch_[1], scratch_[2], scratch_[3]},
            .clamped = clamped};
  }

  bool HasNan(const double* values) const {
    return std::any_of(values, values + classes_, [](double v) { return std::isnan(v); });
  }

  void WriteGradients(int64_t r, double coefficient) {
    const OutputDTypes dtypes = plan_.output_dtypes();
    std::fill_n(terms_, classes_, coefficient);
    WriteGradient(slope_, r, coefficient, dtypes.gradient, rows_.gradient);
    WriteGradient(second_slope_, r, coefficient, dtypes.second_gradient, rows_.second_gradient);
  }

  void WriteGradient(double* slope, int64_t r, double coefficient, DType dtype, std::byte* rows) {
    if (rows == nullptr) return;
    // What weighs nothing has no gradient, be its slope infinite or NaN.
    if (coefficient == 0) std::fill_n(slope, classes_, 0.0);
    const Real out = RealOf(dtype);
    kernels::Active().scale_elements[Index(Compute::kDouble)][Index(out)](
        slope, terms_, classes_, /*streaming=*/false, rows + r * classes_ * kernels::SizeOf(out));
  }

  const BoxJob& job_;
  const LossPlan& plan_;
  const Rows& rows_;
  Workspace& work_;
  UnitSums& unit_;
  int64_t classes_;
  HeadOf head_;
  double* x_ = nullptr;
  double* t_ = nullptr;
  double* second_ = nullptr;
  double* weight_ = nullptr;
  double* slope_ = nullptr;
  double* second_slope_ = nullptr;
  double* terms_ = nullptr;
  double* scratch_[4] = {};
  double target_ = 0;  // 0 in losses without one target for each position
};

void Run(const BoxJob& job, const Cut&, const Stretch& stretch, Workspace& work, UnitSums& unit) {
  RowTile tile(job, stretch, work);
  const Rows rows = tile.Open();
  RowRun(job, rows, work, unit).Run();
  tile.Close();
}

}  // namespace

const Runner kRowLosses = {CutRows, ScratchBytes, ComputeType, Run};

}  // namespace lossd
