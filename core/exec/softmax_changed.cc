// Softmax with options that change the logits (soft cap, temperature, class bias, margin) or look
// at whole rows (entropy bonus), whatever the targets.
//
//   cut      a tile of rows at a time; lanes are turned into rows
//   scratch  of a tile: logits z as changed, kept relative to a reference of their row, the slopes
//            of the soft cap, the exponentials, and the coefficients c_k of dense targets
//   run      in phases: change, reduce, other outputs, losses, scale row by row
//   rest     of a row that is almost certain: in double, from the predictions
//   label    with one label a position its entry is written last, from 1 - s_y without cancellation

#include <algorithm>
#include <cmath>

#include "core/exec/dense_targets.h"
#include "core/exec/hits.h"
#include "core/exec/position_sums.h"
#include "core/exec/rows.h"
#include "core/exec/runner.h"
#include "core/exec/softmax_options.h"
#include "core/exec/softmax_phases.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::KernelSet;
using kernels::LabelledPositions;
using kernels::Real;

Compute ComputeType(const LossPlan& plan) { return ComputeOf(RealOf(plan.dtype())); }

constexpr Real OwnFormat(Compute compute) {
  return compute == Compute::kFloat ? Real::kF32 : Real::kF64;
}

// Scratch of the compute type.
std::byte* GetOf(Compute compute, int64_t count, Scratch& scratch) {
  return compute == Compute::kFloat ? reinterpret_cast<std::byte*>(scratch.Get<float>(count))
                                    : reinterpret_cast<std::byte*>(scratch.Get<double>(count));
}

// Rows on their way through the phases.
class ChangedRows {
 public:
  ChangedRows(const BoxJob& job, const Rows& rows, Workspace& work, UnitSums& unit)
      : job_(job),
        rows_(rows),
        work_(work),
        unit_(unit),
        kernels_(kernels::Active()),
        compute_(job.run.compute()),
        change_(job.run.logit_change),
        classes_(job.classes()),
        at_(LabelledArrays(rows.count, job.run.softmax_head != nullptr, work.labelled)) {
    double* arrays = work.losses.Get<double>(4 * rows.count);
    for (double** array : {&reference_, &top_, &distance_, &label_slope_}) {
      *array = arrays;
      arrays += rows.count;
    }
  }

  void Run() {
    Load();
    Change();
    Reduce();
    const auto label = [&](int64_t r) { return TargetClass(job_, rows_, r, positions()); };
    if (one_class() || job_.run.plan.outputs().label_log_probabilities) FindLabels(label);
    WriteLabelLogProbabilities(job_, rows_.first_output, positions(), at_);
    if (job_.run.entropy_bonus > 0 || job_.run.plan.outputs().entropy) FindDistances();
    WriteLogSumExps(job_, rows_, at_, positions(), unit_);
    WriteOrders(label);
    WriteProbabilities(job_, rows_, reduced_, work_);
    one_class() ? RunOneClass() : RunDense();
  }

 private:
  bool one_class() const { return job_.run.plan.one_class(); }
  const Positions& positions() const { return work_.positions; }
  bool is_capped() const { return std::isfinite(change_.soft_cap); }
  const std::byte* Predictions(int64_t r) const {
    return rows_.predictions + r * classes_ * kernels::SizeOf(job_.run.real());
  }
  template <class Byte>
  Byte* InRow(Byte* base, int64_t r) const {
    return base + r * classes_ * SizeOf(compute_);
  }

  void Load() {
    if (one_class()) {
      LoadLabelled(job_.run, rows_.first_position, rows_.count, work_.positions);
    } else {
      work_.positions.Load(job_.run, rows_.first_position, rows_.count, WeightOf::kTargets);
    }
  }

  void Change() {
    logits_ = GetOf(compute_, rows_.count * classes_, work_.logits);
    if (is_capped()) slopes_ = GetOf(compute_, rows_.count * classes_, work_.slopes);
    kernels_.logit_references[Index(job_.run.real())](rows_.predictions, rows_.count, classes_,
                                                      change_, reference_, job_.stop);
    kernels_.change_logits[Index(compute_)][Index(job_.run.real())](
        rows_.predictions, rows_.count, classes_, change_, reference_, logits_, slopes_, job_.stop);
    for (int64_t r = 0; job_.run.margin && r < rows_.count; ++r) {
      const int32_t y = positions().label[r];
      if (y < 0) continue;
      StoreReal(OwnFormat(compute_), MarginLogit(r), InRow(logits_, r), y);
      if (MarginOf(r).clipped) ++unit_.sums.clamped_count;
    }
  }

  // What the margin makes of the label's cosine.
  Margin::Of MarginOf(int64_t r) const {
    return (*job_.run.margin)(LoadReal(job_.run.real(), Predictions(r), positions().label[r]));
  }
  // z of the label with its margin, relative to the reference.
  double MarginLogit(int64_t r) const {
    return (MarginOf(r).cosine - reference_[r]) * change_.scale;
  }

  void Reduce() {
    reduced_ = ReduceLogits(job_, OwnFormat(compute_), logits_, rows_.count, at_, work_);
    // Below, the rounding of z would show in the relative error of the rest.
    const double least = static_cast<double>(classes_) * 6e-7;
    const bool rounds = compute_ == Compute::kFloat &&
                        (is_capped() || change_.scale != 1 || change_.bias != nullptr);
    for (int64_t r = 0; r < rows_.count; ++r) {
      if (rounds && at_.rest[r] < least) at_.rest[r] = ExactRest(r);
      top_[r] = at_.peak[r];
      at_.peak[r] += reference_[r] * change_.scale;
    }
    kernels_.log1p(at_.rest, rows_.count, at_.log1p_rest);
  }

  // z of a row in double, relative to the reference; room for as much lies behind it.
  double* ExactRow(int64_t r) const {
    const int64_t stride = classes_ + kernels::kGroup;
    auto* z = work_.exact.Get<double>(3 * stride);
    kernels_.change_logits[Index(Compute::kDouble)][Index(job_.run.real())](
        Predictions(r), 1, classes_, change_, &reference_[r], z, z + 2 * stride, job_.stop);
    const bool has_margin = job_.run.margin && positions().label[r] >= 0;
    if (has_margin) z[positions().label[r]] = MarginLogit(r);
    return z;
  }

  double ExactRest(int64_t r) const {
    double* z = ExactRow(r);
    double* e = z + classes_ + kernels::kGroup;
    double chunk_scale;
    double peak;
    double rest;
    kernels_.reduce_rows[Index(Real::kF64)](z, 1, classes_, e, &chunk_scale, &peak, &rest,
                                            job_.stop);
    return rest;
  }

  // z of one logit in double, relative to the reference, and its slope; both with slack.
  void ChangeOne(int64_t r, int64_t k, double* z, double* slope) const {
    if (job_.run.margin) {
      *z = MarginLogit(r);
      *slope = MarginOf(r).slope;
      return;
    }
    kernels::LogitChange change = change_;
    if (change.bias != nullptr) change.bias += k;
    kernels_.change_logits[Index(Compute::kDouble)][Index(job_.run.real())](
        Predictions(r) + k * kernels::SizeOf(job_.run.real()), 1, 1, change, &reference_[r], z,
        slope, job_.stop);
  }

  // Whether label(r) has the largest z, and its rank; a bias changes the order of the logits.
  template <class Label>
  void WriteOrders(Label label) {
    if (change_.bias == nullptr) {
      WriteRowHits(job_, rows_, unit_, label, [](int64_t) { return kNaN; });
      return WriteRowRanks(job_, rows_, label);
    }
    const OutputSet& wanted = job_.run.plan.outputs();
    for (int64_t r = 0; (wanted.argmax_hits || wanted.label_rank) && r < rows_.count; ++r) {
      // In double, so that no rounding of z makes classes equal.
      const int64_t y = label(r);
      const int64_t rank =
          y < 0 ? -1 : kernels_.rank[Index(Real::kF64)](ExactRow(r), classes_, y, job_.stop);
      if (wanted.argmax_hits) WriteHit(job_, rows_.first_output + r, rank == 0, unit_);
      if (wanted.label_rank) WriteRank(job_, rows_.first_output + r, rank);
    }
  }

  // What is known of the labels.
  template <class Label>
  void FindLabels(Label label) {
    for (int64_t r = 0; r < rows_.count; ++r) {
      const int64_t y = label(r);
      at_.coefficient[r] = y < 0 ? 0.0 : positions().gradient[r] * change_.scale;
      at_.picked[r] = y < 0 && positions().label[r] >= 0 ? kNaN : 0;
      at_.picked_exponential[r] = 0;
      label_slope_[r] = 1;
      if (y < 0) continue;
      at_.picked_exponential[r] = ExponentialAt(job_, reduced_, r, y);
      double z[kernels::kGroup];
      double slope[kernels::kGroup];
      ChangeOne(r, y, z, slope);
      const bool is_top = LoadReal(OwnFormat(compute_), InRow(logits_, r), y) == top_[r];
      at_.picked[r] = is_top ? at_.peak[r] : z[0] + reference_[r] * change_.scale;
      if (is_capped() || job_.run.margin) label_slope_[r] = slope[0];
    }
  }

  // sum_k s_k (m - z_k): the entropy without log1p(rest).
  void FindDistances() {
    for (int64_t r = 0; r < rows_.count; ++r) {
      const double sum = kernels_.entropy_sum[Index(OwnFormat(compute_))](
          InRow(logits_, r), InRow(static_cast<std::byte*>(reduced_.e), r),
          reduced_.chunk_scale + r * reduced_.chunks, classes_, top_[r], job_.stop);
      distance_[r] = sum / (1 + at_.rest[r]);
      if (!job_.run.plan.outputs().entropy) continue;
      WriteEntropy(job_, rows_.first_output + r, at_.log1p_rest[r], at_.rest[r], sum);
    }
  }

  void SubtractEntropy(int64_t r) const {
    const double eta = job_.run.entropy_bonus;
    if (eta == 0 || std::isnan(at_.rest[r])) return;
    at_.loss[r] -= eta * (at_.log1p_rest[r] + distance_[r]);
  }

  void RunOneClass() {
    kernels_.apply_head(*HeadOf(job_.run, positions()), at_, rows_.count);
    const double eta = job_.run.entropy_bonus;
    for (int64_t r = 0; r < rows_.count; ++r) {
      SubtractEntropy(r);
      if (eta > 0 && at_.picked_exponential[r] > 0) {
        const double s = at_.picked_exponential[r] / (1 + at_.rest[r]);
        const double from_mean = at_.picked[r] - at_.peak[r] + distance_[r];
        at_.label_gradient[r] += at_.coefficient[r] * eta * s * from_mean;
      }
      at_.label_gradient[r] = at_.label_gradient[r] * label_slope_[r] + 0.0;  // no -0
    }
    AddLabelledLosses(job_, positions(), rows_.first_output, at_, unit_);
    if (!rows_.gradient) return;
    const Real out = job_.run.gradient_real();
    for (int64_t r = 0; r < rows_.count; ++r) {
      if (!WriteGradient(r, at_.softmax_coefficient[r], nullptr)) continue;
      StoreReal(out, at_.label_gradient[r], rows_.gradient, r * classes_ + positions().label[r]);
    }
  }

  void RunDense() {
    const CoefficientRows c = MakeCoefficients(job_.run, rows_, compute_, job_.stop, work_);
    const double cap = job_.run.loss_cap;
    const double zeta = job_.run.lse_square_scale;
    for (int64_t r = 0; r < rows_.count; ++r) {
      at_.coefficient[r] = at_.loss[r] = label_slope_[r] = 0;
      if (positions().label[r] < 0) continue;
      const kernels::DenseSums sums = kernels_.dense_sums[Index(OwnFormat(compute_))](
          InRow(logits_, r), c.Row(r), classes_, {top_[r], at_.rest[r]}, at_.log1p_rest[r], cap,
          job_.stop);
      const double lse = at_.peak[r] + at_.log1p_rest[r];
      at_.loss[r] = sums.loss;
      if (std::isinf(cap) && sums.mass != 0) at_.loss[r] += sums.mass * at_.log1p_rest[r];
      if (zeta > 0) at_.loss[r] += zeta * lse * lse;
      SubtractEntropy(r);
      if (std::isnan(at_.rest[r])) at_.loss[r] = at_.rest[r];
      if (sums.clamped) ++unit_.sums.clamped_count;
      at_.coefficient[r] = positions().gradient[r] * change_.scale;
      label_slope_[r] = at_.coefficient[r] * (sums.mass + (zeta > 0 ? 2 * zeta * lse : 0));
    }
    AddZLosses(job_, positions(), at_, unit_);
    AddPositions(job_, positions(), rows_.first_output, at_.loss, c.weight.data(), unit_);
    if (!rows_.gradient) return;
    for (int64_t r = 0; r < rows_.count; ++r) WriteGradient(r, label_slope_[r], c.Row(r));
  }

  // A row of gradient but for the label's entry, `factor` being what s_k is multiplied by; false
  // where the row is all 0 or NaN.
  bool WriteGradient(int64_t r, double factor, const std::byte* c) {
    const double a = at_.coefficient[r];
    if (IsLeftWrong(a, at_.rest[r])) {
      FillGradientRow(job_, rows_, r, a);
      return false;
    }
    const double whole = 1 + at_.rest[r];
    const double by = a * job_.run.entropy_bonus;
    if (by != 0) factor += by * distance_[r];
    const kernels::ChangedRow row = {.e = InRow(static_cast<const std::byte*>(reduced_.e), r),
                                     .chunk_scale = reduced_.chunk_scale + r * reduced_.chunks,
                                     .z = InRow(logits_, r),
                                     .c = c,
                                     .slope = is_capped() ? InRow(slopes_, r) : nullptr,
                                     .top = top_[r],
                                     .base = factor / whole,
                                     .by = by / whole,
                                     .minus = a};
    const Real out = job_.run.gradient_real();
    kernels_.scale_changed_row[Index(compute_)][Index(out)](
        row, classes_, job_.streaming, rows_.gradient + r * classes_ * kernels::SizeOf(out),
        job_.stop);
    return true;
  }

  const BoxJob& job_;
  const Rows& rows_;
  Workspace& work_;
  UnitSums& unit_;
  const KernelSet& kernels_;
  const Compute compute_;
  const kernels::LogitChange change_;
  const int64_t classes_;
  const LabelledPositions at_;
  double* reference_;
  double* top_;          // the largest z, as it is kept
  double* distance_;     // with an entropy bonus
  double* label_slope_;  // dz_y/dx_y without the scale; of dense targets what s_k is multiplied by
  std::byte* logits_ = nullptr;
  std::byte* slopes_ = nullptr;
  Reduced reduced_{};
};

void Run(const BoxJob& job, const Cut&, const Stretch& stretch, Workspace& work, UnitSums& unit) {
  RowTile tile(job, stretch, work);
  const Rows rows = tile.Open();
  ChangedRows(job, rows, work, unit).Run();
  tile.Close();
}

Cut CutTiles(const LossPlan& plan, const Box& box, bool) { return CutIntoTiles(plan, box); }

int64_t ScratchBytes(const LossPlan& plan, bool) {
  const Cut cut = CutIntoTiles(plan, plan.whole());
  const int64_t elements = StretchElements(plan, cut);
  const Compute compute = ComputeType(plan);
  constexpr int64_t kArrays = 3;  // logits, slopes, exponentials
  const int64_t exact = 3 * 8 * plan.classes();
  const int64_t coefficients = plan.one_class() ? 0 : CoefficientBytes(plan, compute, elements);
  return RowTileBytes(plan, cut) + kArrays * elements * SizeOf(compute) + exact + coefficients;
}

}  // namespace

const Runner kSoftmaxChanged = {CutTiles, ScratchBytes, ComputeType, Run};

}  // namespace lossd
