// Losses of Family::kRows: each position's classes in a row, in double.
//
//   cut      a tile of rows at a time; lanes are turned into rows
//   scratch  the rows as they were gathered, and six numbers of each class of one row
//   run      widens a row, calls the loss's head, scales its slopes

#include <algorithm>
#include <cmath>
#include <variant>

#include "absl/container/inlined_vector.h"
#include "core/exec/cut.h"
#include "core/exec/position_sums.h"
#include "core/exec/rows.h"
#include "core/exec/runner.h"
#include "core/exec/visit_elements.h"
#include "core/kernels/row_heads-inl.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::Real;

constexpr int kRowArrays = 6;

Cut CutRows(const LossPlan& plan, const Box& box, bool) { return CutIntoTiles(plan, box); }

int64_t ScratchBytes(const LossPlan& plan, bool) {
  const Cut cut = CutIntoTiles(plan, plan.whole());
  return RowTileBytes(plan, cut) + kRowArrays * 8 * plan.classes();
}

Compute ComputeType(const LossPlan&) { return Compute::kDouble; }

// The head of a loss, and its options.
struct HeadOf {
  kernels::RowBody body = nullptr;
  absl::InlinedVector<double, 4> options;
};

// A loss of the family without a head does not compile.
HeadOf FindHead(const Loss& loss) {
  return std::visit(
      []<class L>(const L& of) {
        HeadOf found;
        if constexpr (LossRow<L>::kFamily == Family::kRows) {
          constexpr int kHead = kernels::HWY_NAMESPACE::RowHeadIndex(LossRow<L>::kName);
          static_assert(kHead < kernels::HWY_NAMESPACE::kRowHeads);
          found.body = kernels::Active().row_heads[kHead];
          ForEachOption<L>([&](const auto& option) {
            OptionNumbers(of.*option.member,
                          [&found](double number) { found.options.push_back(number); });
          });
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
    for (double** array : {&x_, &t_, &second_, &weight_, &slope_, &terms_}) {
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
      WriteGradient(r, 0);
      return 0;
    }
    Widen(rows_.predictions, plan_.dtype(), r, x_);
    if (rows_.targets) Widen(rows_.targets, tensors.targets.dtype, r, t_);
    if (rows_.second) Widen(rows_.second, tensors.second_predictions->dtype, r, second_);
    const bool by_class = job_.run.class_weights.given() && rows_.targets != nullptr;
    const int64_t p = rows_.first_position + r;
    for (int64_t k = 0; by_class && k < classes_; ++k) {
      weight_[k] = job_.run.class_weights.At(p / plan_.inner(), k, p % plan_.inner());
    }
    const double loss = head_.body({x_, t_, second_, by_class ? weight_ : nullptr, classes_, label,
                                    head_.options.data(), slope_, terms_});
    const bool by_targets = rows_.targets != nullptr && HasNan(t_);
    if (std::isnan(loss) && !by_targets) unit_.CountNonFinite(p);
    // An infinite loss has no slope.
    if (!std::isfinite(loss)) {
      if (!std::isnan(loss)) unit_.CountNonFinite(p);
      std::fill_n(slope_, classes_, kNaN);
    }
    WriteGradient(r, work_.positions.gradient[r] * work_.positions.weight[r]);
    return OneNaN(loss);
  }

  bool HasNan(const double* values) const {
    return std::any_of(values, values + classes_, [](double v) { return std::isnan(v); });
  }

  void WriteGradient(int64_t r, double coefficient) {
    if (!rows_.gradient) return;
    // What weighs nothing has no gradient, be its slope infinite or NaN.
    if (coefficient == 0) std::fill_n(slope_, classes_, 0.0);
    std::fill_n(terms_, classes_, coefficient);
    const Real out = job_.run.gradient_real();
    kernels::Active().scale_elements[Index(Compute::kDouble)][Index(out)](
        slope_, terms_, classes_, /*streaming=*/false,
        rows_.gradient + r * classes_ * kernels::SizeOf(out));
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
  double* terms_ = nullptr;
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
