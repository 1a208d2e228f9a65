// Policy with RatioLevel::kSequence: the ratio of a token is that of its sequence (C. Zheng et al.,
// Group Sequence Policy Optimization, 2025).
//
//   cut      sequences, several of short ones to a unit
//   scratch  a few numbers of each of some hundred tokens
//   run      walks a sequence three times: the mean of lp - old, the losses with their slopes by
//   the
//            logarithm of the ratio, the gradient, which is the same sum of slopes for every token

#include <algorithm>
#include <cmath>

#include "core/exec/policy_options.h"
#include "core/exec/policy_sums.h"
#include "core/exec/position_sums.h"
#include "core/exec/runner.h"

namespace lossd {
namespace {

using kernels::Compute;

constexpr int64_t kTokens = kernels::kMaxExactTerms;  // at once

Cut CutSequences(const LossPlan& plan, const Box&, bool) {
  Cut cut;
  cut.rows = true;
  cut.planes = 1;
  cut.tile = 1;
  cut.stretch = 1;
  cut.unit_planes = 1;
  // How many sequences there are the lengths say, which a plan does not know: at most one a token.
  const auto& lengths = plan.tensors().sequence_lengths;
  const TensorDesc& predictions = plan.tensors().predictions;
  const int64_t fastest = predictions.layout == Layout::kRowMajor ? predictions.shape.back()
                                                                  : predictions.shape.front();
  const int64_t tokens = plan.counted_positions();
  cut.positions = lengths ? lengths->shape[0] : tokens / std::max<int64_t>(1, fastest);
  const int64_t of_one = tokens / std::max<int64_t>(1, cut.positions);
  cut.unit = std::max<int64_t>(1, kUnitElements / (1 + of_one));
  cut.units_per_plane = (cut.positions + cut.unit - 1) / cut.unit;
  cut.units = cut.units_per_plane;
  return cut;
}

int64_t ScratchBytes(const LossPlan&, bool) { return 0; }  // nothing that grows with the shape

Compute ComputeType(const LossPlan&) { return Compute::kDouble; }

class SequenceRun {
 public:
  SequenceRun(const BoxJob& job, int64_t sequence, Workspace& work, UnitSums& unit)
      : job_(job),
        tensors_(job.run.plan.tensors()),
        head_(std::get<PolicyLoss>(job.run.plan.spec().loss)),
        begin_(sequence == 0 ? 0 : job.run.sequence_ends[sequence - 1]),
        end_(job.run.sequence_ends[sequence]),
        work_(work),
        unit_(unit) {
    constexpr int kArrays = 10;
    constexpr int64_t kStride = kTokens + kernels::kGroup;
    auto* at = work.losses.Get<double>(kArrays * kStride);
    for (double** array : {&lp_, &advantage_, &old_, &reference_, &log_ratio_, &ratio_, &loss_,
                           &slope_, &divergence_, &divergence_slope_}) {
      *array = at;
      at += kStride;
    }
  }

  void Run() {
    FindMean();
    ForTokens([this](int64_t first, int64_t count) { AddLosses(first, count); });
    if (job_.out.gradient.empty()) return;
    slope_of_all_ = slopes_.Round() / static_cast<double>(active_);
    ForTokens([this](int64_t first, int64_t count) { WriteGradient(first, count); });
  }

 private:
  template <class Body>
  void ForTokens(Body body) {
    for (int64_t first = begin_; first < end_ && !kernels::Stopped(job_.stop); first += kTokens) {
      const int64_t count = std::min(kTokens, end_ - first);
      Load(first, count);
      body(first, count);
    }
  }

  void Load(int64_t first, int64_t count) {
    work_.positions.LoadElements(job_.run, job_.box, first, count);
    const kernels::Real real = job_.run.real();
    const int64_t size = kernels::SizeOf(real);
    auto* const copy = work_.gathered.Get<std::byte>(count * size);
    job_.in.predictions.CopyTo(first * size, count * size, copy);
    kernels::Active().widen[Index(Compute::kDouble)][Index(real)](copy, count, lp_);
    const auto load = [&](const std::optional<TensorDesc>& desc, ByteSpan bytes, double* to) {
      for (int64_t i = 0; desc && i < count; ++i) {
        to[i] = LoadReal(RealOf(desc->dtype), bytes.data(), first + i);
      }
    };
    load(tensors_.advantages, job_.run.side.advantages, advantage_);
    load(tensors_.old_log_probabilities, job_.run.side.old_log_probabilities, old_);
    load(tensors_.reference_log_probabilities, job_.run.side.reference_log_probabilities,
         reference_);
  }

  bool on_policy() const { return !tensors_.old_log_probabilities; }
  bool IsActive(int64_t i) const { return work_.positions.q[i] != 0; }

  // log r: the mean of lp - old over the tokens that weigh something.
  void FindMean() {
    ExactSum sum;
    ForTokens([&](int64_t, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        if (!IsActive(i)) continue;
        ++active_;
        const double old = on_policy() ? lp_[i] : old_[i];
        has_nan_ = has_nan_ || std::isnan(lp_[i]);
        by_old_ = by_old_ || std::isnan(old);
        sum.Add(OneNaN(lp_[i] - old));
      }
    });
    mean_ = active_ == 0 ? 0 : OneNaN(sum.Round() / static_cast<double>(active_));
    has_nan_ = has_nan_ || (std::isnan(mean_) && !by_old_);
  }

  void FindLosses(int64_t count) {
    std::fill_n(log_ratio_, count, mean_);
    head_.OfRatios(log_ratio_, advantage_, count, loss_, slope_);
    std::fill_n(divergence_, count, 0.0);
    std::fill_n(divergence_slope_, count, 0.0);
    if (tensors_.reference_log_probabilities) {
      head_.Divergences(Tokens(), count, divergence_, divergence_slope_);
    }
  }

  TokenArrays Tokens() const {
    return {.log_probability = lp_,
            .advantage = advantage_,
            .old = on_policy() ? nullptr : old_,
            .reference = tensors_.reference_log_probabilities ? reference_ : nullptr,
            .ratio = ratio_};
  }
  double beta() const { return std::get<PolicyLoss>(job_.run.plan.spec().loss).kl_coefficient; }

  void AddLosses(int64_t first, int64_t count) {
    FindLosses(count);
    const Positions& positions = work_.positions;
    for (int64_t i = 0; i < count; ++i) {
      if (IsActive(i)) slopes_.Add(OneNaN(Product(positions.gradient[i], slope_[i])));
      if (beta() != 0) loss_[i] += beta() * divergence_[i];
      const bool by_sequence = IsActive(i) && has_nan_;
      if (std::isnan(lp_[i]) || by_sequence) unit_.CountNonFinite(first + i);
      loss_[i] = std::isnan(lp_[i]) ? kNaN : OneNaN(loss_[i]);
    }
    kernels::Active().exp(log_ratio_, count, ratio_);
    AddPolicySums(job_, positions, Tokens(), first, unit_);
    AddPositions(job_, positions, first, loss_, positions.weight.data(), unit_);
  }

  // a c, 0 where a is: what weighs nothing has no gradient.
  static double Product(double a, double c) { return a == 0 ? 0 : a * c; }

  void WriteGradient(int64_t first, int64_t count) {
    FindLosses(count);
    const DType dtype = job_.run.plan.gradient_dtype();
    for (int64_t i = 0; i < count; ++i) {
      const double own = Product(work_.positions.gradient[i], beta() * divergence_slope_[i]);
      slope_[i] = IsActive(i) ? slope_of_all_ + own : 0;
      ratio_[i] = 1;
    }
    kernels::Active().scale_elements[Index(Compute::kDouble)][Index(RealOf(dtype))](
        slope_, ratio_, count, /*streaming=*/false,
        job_.out.gradient.data() + first * SizeOf(dtype));
  }

  const BoxJob& job_;
  const LossTensorDescs& tensors_;
  const PolicyOptions head_;
  const int64_t begin_;
  const int64_t end_;
  Workspace& work_;
  UnitSums& unit_;

  double* lp_ = nullptr;
  double* advantage_ = nullptr;
  double* old_ = nullptr;
  double* reference_ = nullptr;
  double* log_ratio_ = nullptr;
  double* ratio_ = nullptr;
  double* loss_ = nullptr;
  double* slope_ = nullptr;
  double* divergence_ = nullptr;
  double* divergence_slope_ = nullptr;

  int64_t active_ = 0;
  bool has_nan_ = false;  // by its predictions
  bool by_old_ = false;   // by the old policy's log-probabilities
  double mean_ = 0;
  ExactSum slopes_;  // of the active tokens, by the logarithm of the ratio
  double slope_of_all_ = 0;
};

void Run(const BoxJob& job, const Cut&, const Stretch& stretch, Workspace& work, UnitSums& unit) {
  SequenceRun(job, stretch.o, work, unit).Run();
}

}  // namespace

const Runner kSequencePolicy = {CutSequences, ScratchBytes, ComputeType, Run};

}  // namespace lossd
