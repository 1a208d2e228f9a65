// Connectionist temporal classification: a sequence of frames is a position.
//
//   cut      sequences, several of short ones to a unit
//   scratch  of a sequence: log s of all frames [T][C], and the forward variables [T][E] over the
//            E = 2 n + 1 extended labels blank, l_1, blank, .., l_n, blank
//   run      log-softmax of each frame, forward variables, the loss, then backward variables frame
//            by frame with the gradient softmax - posterior; all in double, in log space

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "core/exec/position_sums.h"
#include "core/exec/runner.h"
#include "core/exec/sequences.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::Real;

constexpr double kNever = -std::numeric_limits<double>::infinity();
// In front of the forward variables of a frame and behind its backward ones: what no label is at.
constexpr int64_t kMargin = 2;
constexpr int64_t kSlack = kMargin + kernels::kGroup;

Cut CutSequences(const LossPlan& plan, const Box&, bool) {
  const SequencesPlan& sequences = *plan.sequences();
  const int64_t work = std::max<int64_t>(1, plan.classes() * sequences.frames);
  Cut cut;
  cut.rows = true;
  cut.positions = sequences.count;
  cut.planes = 1;
  cut.unit = std::max<int64_t>(1, kUnitElements / work);
  cut.tile = 1;
  cut.stretch = 1;
  cut.unit_planes = 1;
  cut.units_per_plane = (cut.positions + cut.unit - 1) / cut.unit;
  cut.units = cut.units_per_plane;
  return cut;
}

int64_t ScratchBytes(const LossPlan& plan, bool) {
  const SequencesPlan& sequences = *plan.sequences();
  // Of more labels than frames nothing is kept.
  const auto labels = static_cast<double>(std::min(sequences.labels, sequences.frames));
  const auto classes = static_cast<double>(plan.classes() + kSlack);
  const double bytes =
      8 * static_cast<double>(sequences.frames) * (classes + 2 * labels + 1 + kSlack) +
      8 * 6 * (2 * labels + kSlack) + 3 * 8 * classes + kSlackBytes;
  constexpr double kMost = 1e16;  // no memory has it, and all products fit
  return static_cast<int64_t>(std::min(bytes, kMost));
}

Compute ComputeType(const LossPlan&) { return Compute::kDouble; }

// The extended labels of a sequence. skip[s] is 0 where a path may come to s from s - 2, else -inf.
struct Extended {
  std::vector<int32_t> classes;
  std::vector<double> skip;

  Extended(const std::vector<int32_t>& labels, int32_t blank)
      : classes(2 * labels.size() + 1, blank), skip(classes.size() + kSlack, kNever) {
    for (size_t s = 0; s < labels.size(); ++s) {
      classes[2 * s + 1] = labels[s];
      if (s > 0 && labels[s] != labels[s - 1]) skip[2 * s + 1] = 0;
    }
  }
  int64_t count() const { return static_cast<int64_t>(classes.size()); }
};

class SequenceRun {
 public:
  SequenceRun(const BoxJob& job, int64_t n, Workspace& work, UnitSums& unit)
      : job_(job),
        plan_(*job.run.plan.sequences()),
        loss_(std::get<CtcLoss>(job.run.plan.spec().loss)),
        n_(n),
        frames_(FramesOf(job.run, n)),
        classes_(job.classes()),
        stride_(classes_ + kernels::kGroup),
        work_(work),
        unit_(unit) {}

  void Run() {
    work_.positions.Load(job_.run, n_, 1, WeightOf::kLabel);
    const double loss = Compute();
    if (std::isnan(loss)) unit_.CountNonFinite(n_);
    if (loss == -kNever) ++unit_.sums.infeasible_count;
    const bool infeasible = loss == -kNever;
    if (infeasible && loss_.infeasible_policy == InfeasiblePolicy::kError) {
      unit_.RefuseSequence(n_);
    }
    const bool zero = infeasible && loss_.infeasible_policy == InfeasiblePolicy::kZero;
    const double told[1 + kernels::kGroup] = {zero ? 0 : OneNaN(loss)};
    AddPositions(job_, work_.positions, n_, told, work_.positions.weight.data(), unit_);
    if (job_.out.gradient.empty()) return;
    const double a = zero ? 0 : work_.positions.gradient[0];
    if (a == 0 || !std::isfinite(loss)) {
      Fill(0, frames_, a == 0 ? 0 : kNaN);
    } else if (frames_ > 0) {
      GoBack(a, loss);
    }
    Fill(frames_, plan_.frames, 0);
  }

 private:
  bool Stops() const { return kernels::Stopped(job_.stop); }
  int64_t Element(int64_t t, int64_t k) const {
    return n_ * plan_.sequence_stride + t * plan_.frame_stride + k * plan_.class_stride;
  }
  double* LogSoftmax(int64_t t) const { return log_s_ + t * stride_; }
  double* Alpha(int64_t t) const { return alpha_ + t * alpha_stride_ + kMargin; }

  // The loss; NaN for a frame that has none, +inf where the frames cannot spell the labels.
  double Compute() {
    const std::vector<int32_t> labels = LabelsOf(job_.run, n_);
    if (!LoadFrames()) return kNaN;
    if (FramesNeeded(labels) > frames_) return -kNever;
    if (frames_ == 0) return 0;
    extended_.emplace(labels, loss_.blank);
    GoForward();
    const int64_t last = extended_->count() - 1;
    const double* const alpha = Alpha(frames_ - 1);
    double ends[3 * kernels::kGroup] = {alpha[last]};
    double* const other = ends + kernels::kGroup;
    double* const sum = other + kernels::kGroup;
    *other = last > 0 ? alpha[last - 1] : kNever;
    kernels::Active().log_add3(ends, other, ends, extended_->skip.data(), 1, sum);
    return 0 - *sum;
  }

  // log s of all frames; false where one of them has a NaN or +inf.
  bool LoadFrames() {
    const kernels::KernelSet& kernels = kernels::Active();
    log_s_ = work_.logits.Get<double>(frames_ * stride_);
    auto* const e = work_.exponentials.Get<double>(classes_);
    auto* const scale = work_.chunk_scales.Get<double>(kernels::Chunks(Compute::kDouble, classes_));
    for (int64_t t = 0; t < frames_ && !Stops(); ++t) {
      double* const row = LogSoftmax(t);
      LoadFrame(t, row);
      double sums[3 * kernels::kGroup];
      double* const peak = sums;
      double* const rest = sums + kernels::kGroup;
      double* const log1p_rest = rest + kernels::kGroup;
      kernels.reduce_rows[Index(Real::kF64)](row, 1, classes_, e, scale, peak, rest, job_.stop);
      if (std::isnan(*rest)) return false;
      kernels.log1p(rest, 1, log1p_rest);
      for (int64_t k = 0; k < classes_; ++k) row[k] = (row[k] - *peak) - *log1p_rest;
    }
    return true;
  }

  void LoadFrame(int64_t t, double* row) const {
    const Real real = job_.run.real();
    const int64_t size = kernels::SizeOf(real);
    if (plan_.class_stride == 1) {
      auto* const copy = work_.gathered.Get<std::byte>(classes_ * size);
      job_.in.predictions.CopyTo(Element(t, 0) * size, classes_ * size, copy);
      kernels::Active().widen[Index(Compute::kDouble)][Index(real)](copy, classes_, row);
      return;
    }
    for (int64_t k = 0; k < classes_; ++k) {
      std::byte bytes[8];
      job_.in.predictions.CopyTo(Element(t, k) * size, size, bytes);
      row[k] = LoadReal(real, bytes, 0);
    }
  }

  // The log-probability of frame t to be at each extended label.
  void Emit(int64_t t, double* emission) const {
    const double* const row = LogSoftmax(t);
    for (int64_t s = 0; s < extended_->count(); ++s) emission[s] = row[extended_->classes[s]];
  }

  // alpha_t(s): the paths that are at s in frame t, its emission included.
  void GoForward() {
    const int64_t count = extended_->count();
    alpha_stride_ = count + kSlack;
    alpha_ = work_.exact.Get<double>(frames_ * alpha_stride_);
    emission_.assign(count + kSlack, 0);
    for (int64_t t = 0; t < frames_ && !Stops(); ++t) {
      double* const alpha = Alpha(t);
      std::fill_n(alpha - kMargin, alpha_stride_, kNever);
      Emit(t, emission_.data());
      if (t == 0) {
        std::copy_n(emission_.data(), std::min<int64_t>(count, 2), alpha);
        continue;
      }
      const double* const before = Alpha(t - 1);
      kernels::Active().log_add3(before, before - 1, before - 2, extended_->skip.data(), count,
                                 alpha);
      for (int64_t s = 0; s < count; ++s) alpha[s] += emission_[s];
    }
  }

  // beta_t(s): the paths that go on from s behind frame t. The gradient of each frame on the way.
  void GoBack(double a, double loss) {
    const int64_t count = extended_->count();
    std::vector<double> beta(count + kSlack, kNever);
    std::vector<double> ahead(count + kSlack, kNever);
    beta[count - 1] = 0;
    if (count > 1) beta[count - 2] = 0;
    for (int64_t t = frames_ - 1; t >= 0 && !Stops(); --t) {
      WriteFrame(t, a, loss, beta);
      if (t == 0) break;
      Emit(t, emission_.data());
      for (int64_t s = 0; s < count; ++s) ahead[s] = beta[s] + emission_[s];
      kernels::Active().log_add3(ahead.data(), ahead.data() + 1, ahead.data() + 2,
                                 extended_->skip.data() + 2, count, beta.data());
    }
  }

  // softmax - posterior of frame t, times a.
  void WriteFrame(int64_t t, double a, double loss, const std::vector<double>& beta) {
    const int64_t count = extended_->count();
    const double* const alpha = Alpha(t);
    for (int64_t s = 0; s < count; ++s) emission_[s] = alpha[s] + beta[s] + loss;
    kernels::Active().exp(emission_.data(), count, emission_.data());
    auto* const slope = work_.slopes.Get<double>(2 * stride_);
    double* const factor = slope + stride_;
    kernels::Active().exp(LogSoftmax(t), classes_, slope);
    for (int64_t s = 0; s < count; ++s) slope[extended_->classes[s]] -= emission_[s];
    std::fill_n(factor, classes_, a);
    const Real out = job_.run.gradient_real();
    const int64_t size = kernels::SizeOf(out);
    std::byte* const gradient = job_.out.gradient.data();
    if (plan_.class_stride == 1) {
      Scale(slope, factor, out, gradient + Element(t, 0) * size);
      return;
    }
    auto* const row = work_.outputs.Get<std::byte>(classes_ * size);
    Scale(slope, factor, out, row);
    for (int64_t k = 0; k < classes_; ++k) {
      std::memcpy(gradient + Element(t, k) * size, row + k * size, size);
    }
  }

  void Scale(const double* slope, const double* factor, Real out, std::byte* to) const {
    kernels::Active().scale_elements[Index(Compute::kDouble)][Index(out)](slope, factor, classes_,
                                                                          /*streaming=*/false, to);
  }

  void Fill(int64_t begin, int64_t end, double value) const {
    const Real out = job_.run.gradient_real();
    for (int64_t t = begin; t < end && !Stops(); ++t) {
      for (int64_t k = 0; k < classes_; ++k) {
        StoreReal(out, value, job_.out.gradient.data(), Element(t, k));
      }
    }
  }

  const BoxJob& job_;
  const SequencesPlan& plan_;
  const CtcLoss& loss_;
  const int64_t n_;
  const int64_t frames_;
  const int64_t classes_;
  const int64_t stride_;
  Workspace& work_;
  UnitSums& unit_;
  std::optional<Extended> extended_;
  std::vector<double> emission_;
  double* log_s_ = nullptr;
  double* alpha_ = nullptr;
  int64_t alpha_stride_ = 0;
};

void Run(const BoxJob& job, const Cut&, const Stretch& stretch, Workspace& work, UnitSums& unit) {
  SequenceRun(job, stretch.o, work, unit).Run();
}

}  // namespace

const Runner kCtc = {CutSequences, ScratchBytes, ComputeType, Run};

}  // namespace lossd
