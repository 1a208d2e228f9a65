// Losses of Family::kGroups: a class of a group of places is a position, and what it says of one
// place depends on all of them.
//
//   whole    sums over the places of each chunk, in the order of the places; one sum of the chunks
//            for each class of a group; then the gradient of all places
//   cut      the chunks, which the shape alone decides: so do the bits
//   scratch  a tile of places (overlap_tile.h)

#include "core/exec/tversky.h"

#include <algorithm>
#include <cmath>
#include <variant>
#include <vector>

#include "core/exec/cut.h"
#include "core/exec/overlap_tile.h"
#include "core/exec/position_sums.h"
#include "core/exec/runner.h"
#include "lossd/exact_sum.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

constexpr int64_t kChunksPerGroup = 64;
constexpr int64_t kLeastChunk = int64_t{1} << 12;  // places, unless a group has fewer

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How the places of each group are cut into chunks.
struct Chunks {
  explicit Chunks(const LossPlan& plan)
      : places(plan.groups()->outer * plan.inner()),
        size(std::max(CeilDiv(places, kChunksPerGroup), std::min(places, kLeastChunk))),
        per_group(CeilDiv(places, size)),
        count(per_group * plan.groups()->count) {}

  int64_t places;  // of a group
  int64_t size;
  int64_t per_group;
  int64_t count;
};

// A sum and what rounding took from it: D. Knuth, TAOCP 2, 4.2.2.
struct LongSum {
  double sum = 0;
  double lost = 0;

  void Add(double term) {
    const double next = sum + term;
    const double part = next - sum;
    lost += (sum - (next - part)) + (term - part);
    sum = next;
  }
  // A sum that is not finite says so itself; what was lost of it is no number.
  void AddTo(ExactSum& exact) const {
    exact.Add(sum);
    if (std::isfinite(sum)) exact.Add(lost);
  }
};

// Of a class in some places: true positives, false positives, false negatives.
struct Overlap {
  LongSum tp;
  LongSum fp;
  LongSum fn;
  int64_t nan_predictions = 0;
};

// What the gradient of a class in a group is made of: dl/dp = q (plain + with_target * t).
struct Slopes {
  double plain = 0;
  double with_target = 0;
};

// a^p for a >= 0, and p >= 0 where a is 0; the exponents that are common without rounding.
double Power(double a, double p) {
  if (p == 0) return 1;
  if (p == 1) return a;
  if (p == 2) return a * a;
  if (a == 0) return 0;
  if (!(a > 0)) return kNaN;
  double log[1 + kernels::kGroup] = {a};
  double power[1 + kernels::kGroup] = {};
  kernels::Active().log(log, 1, log);
  log[0] *= p;
  kernels::Active().exp(log, 1, power);
  return power[0];
}

Workspace& ThreadWorkspace() {
  thread_local Workspace workspace;
  return workspace;
}

class OverlapRun {
 public:
  OverlapRun(const BoxJob& job, Executor& executor, StopToken stop)
      : job_(job),
        plan_(job.run.plan),
        loss_(std::get<TverskyLoss>(plan_.spec().loss)),
        executor_(executor),
        stop_(stop),
        chunks_(plan_),
        classes_(plan_.classes()) {}

  absl::Status Run(UnitSums& unit) {
    overlaps_.resize(chunks_.count * classes_);
    LOSSD_RETURN_IF_ERROR(ForEachTile([this](int64_t chunk, OverlapTile& tile) {
      for (int64_t k = 0; k < classes_; ++k) AddTile(tile, k, overlaps_[chunk * classes_ + k]);
    }));
    AddLosses(unit);
    if (!plan_.outputs().gradient) return absl::OkStatus();
    return ForEachTile([this](int64_t chunk, OverlapTile& tile) {
      const int64_t group = chunk / chunks_.per_group;
      for (int64_t k = 0; k < classes_; ++k) {
        const Slopes& slopes = slopes_[group * classes_ + k];
        double* const slope = tile.slope(k);
        const double* const q = tile.weight();
        const double* const t = tile.t(k);
        for (int64_t j = 0; j < tile.count(); ++j) {
          slope[j] = q[j] * (slopes.plain + slopes.with_target * t[j]);
        }
      }
      tile.Close();
    });
  }

 private:
  // Calls body(chunk, tile) with the tiles of all chunks, those of one in their order.
  template <class Body>
  absl::Status ForEachTile(Body body) {
    const int64_t most = OverlapTile::MostPlaces(classes_);
    const int64_t inner = plan_.inner();
    return executor_.ForEach(chunks_.count, stop_, [&](int64_t chunk) {
      const int64_t group = chunk / chunks_.per_group * chunks_.places;
      const int64_t begin = chunk % chunks_.per_group * chunks_.size;
      const int64_t end = group + std::min(chunks_.places, begin + chunks_.size);
      OverlapTile tile(job_, ThreadWorkspace());
      int64_t at = group + begin;
      while (at < end && !stop_.stop_requested()) {
        // Lanes of one outer index; rows without end.
        const int64_t left = inner == 1 ? end - at : std::min(end - at, inner - at % inner);
        const int64_t count = std::min(most, left);
        tile.Open(at, count);
        body(chunk, tile);
        at += count;
      }
      ThreadWorkspace().Trim();
    });
  }

  void AddTile(const OverlapTile& tile, int64_t k, Overlap& overlap) const {
    const double* const q = tile.weight();
    const double* const p = tile.p(k);
    const double* const rest = tile.rest(k);
    const double* const t = tile.t(k);
    for (int64_t j = 0; j < tile.count(); ++j) {
      if (q[j] == 0) continue;
      if (std::isnan(p[j])) ++overlap.nan_predictions;
      if (t[j] != 0) {
        overlap.tp.Add(q[j] * (p[j] * t[j]));
        overlap.fn.Add(q[j] * (rest[j] * t[j]));
      }
      if (t[j] != 1) overlap.fp.Add(q[j] * (p[j] * (1 - t[j])));
    }
  }

  // One loss for each class of each group.
  void AddLosses(UnitSums& unit) {
    const int64_t count = plan_.counted_positions();
    Positions& positions = ThreadWorkspace().positions;
    slopes_.resize(count);
    for (int64_t begin = 0; begin < count; begin += kernels::kMaxExactTerms) {
      const int64_t end = std::min(count, begin + kernels::kMaxExactTerms);
      std::vector<double> losses(end - begin);
      positions.LoadGroups(job_.run, begin, end - begin);
      for (int64_t i = begin; i < end; ++i) {
        losses[i - begin] =
            LossOf(i, positions.weight[i - begin], positions.gradient[i - begin], unit);
      }
      AddPositions(job_, positions, begin, losses.data(), positions.weight.data(), unit);
    }
  }

  // (1 - score)^power of position i; its slopes are those of weight * coefficient times that.
  double LossOf(int64_t i, double weight, double coefficient, UnitSums& unit) {
    ExactSum exact[3];
    int64_t nan_predictions = 0;
    const int64_t first = i / classes_ * chunks_.per_group;
    for (int64_t c = first; c < first + chunks_.per_group; ++c) {
      const Overlap& part = overlaps_[c * classes_ + i % classes_];
      part.tp.AddTo(exact[0]);
      part.fp.AddTo(exact[1]);
      part.fn.AddTo(exact[2]);
      nan_predictions += part.nan_predictions;
    }
    const double tp = exact[0].Round();
    const double fn = exact[2].Round();
    const double missed = loss_.alpha * exact[1].Round() + loss_.beta * fn;
    const double top = missed + (loss_.smooth_denominator - loss_.smooth_numerator);
    const double denominator = tp + missed + loss_.smooth_denominator;
    if (nan_predictions > 0) unit.CountNonFinite(i);
    const bool absent = loss_.absent_classes == AbsentClasses::kSkip && tp + fn == 0;
    if (denominator == 0 || absent) return 0;
    const double part = top / denominator;
    const double factor = coefficient * weight;
    if (factor != 0) {
      const double hit = tp + loss_.smooth_numerator;
      // A perfect score is a minimum, and with a power below 1 a kink.
      const double outer = part == 0 && loss_.power < 1 ? 0 : Power(part, loss_.power - 1);
      const double scale = factor * loss_.power * outer / (denominator * denominator);
      slopes_[i] = {scale * loss_.alpha * hit, -scale * ((loss_.alpha + loss_.beta) * hit + top)};
    }
    return weight * OneNaN(Power(part, loss_.power));
  }

  const BoxJob& job_;
  const LossPlan& plan_;
  const TverskyLoss& loss_;
  Executor& executor_;
  StopToken stop_;
  Chunks chunks_;
  int64_t classes_;
  std::vector<Overlap> overlaps_;  // [chunks][classes]
  std::vector<Slopes> slopes_;     // [groups][classes]
};

absl::Status RunWhole(const BoxJob& job, Executor& executor, StopToken stop, UnitSums& unit) {
  return OverlapRun(job, executor, stop).Run(unit);
}

int64_t ScratchBytes(const LossPlan& plan, bool) { return OverlapTile::Bytes(plan); }

kernels::Compute ComputeType(const LossPlan&) { return kernels::Compute::kDouble; }

Cut CutIntoChunks(const LossPlan& plan, const Box& box, bool) { return CutIntoTiles(plan, box); }

}  // namespace

int64_t GroupBytes(const LossPlan& plan) {
  if (!plan.groups()) return 0;
  const int64_t sums = Chunks(plan).count * static_cast<int64_t>(sizeof(Overlap));
  return plan.classes() * (sums + plan.groups()->count * static_cast<int64_t>(sizeof(Slopes)));
}

const Runner kTversky = {CutIntoChunks, ScratchBytes, ComputeType, nullptr, RunWhole};

}  // namespace lossd
