// Losses of Family::kPick with one label each: looks at one class of a position.
//
//   cut      rows or lanes where they lie; several tiles of rows at a time if they are in one piece
//   scratch  a few numbers of each position
//   run      picks the labels' predictions, computes all of them together, and writes the gradient,
//            which is 0 except at the labels

#include <cmath>
#include <cstring>
#include <limits>

#include "core/exec/hits.h"
#include "core/exec/pick_heads.h"
#include "core/exec/position_sums.h"
#include "core/exec/runner.h"

namespace lossd {
namespace {

using kernels::Real;

double PredictionAt(const BoxJob& job, int64_t element) {
  const Real real = job.run.real();
  const int64_t size = kernels::SizeOf(real);
  std::byte bytes[8];
  job.in.predictions.CopyTo(element * size, size, bytes);
  return LoadReal(real, bytes, 0);
}

// The positions of a stretch.
struct Line {
  const BoxJob& job;
  int64_t o;
  int64_t i;
  int64_t width;

  bool rows() const { return job.run.plan.inner() == 1; }
  int64_t first_position() const { return job.PositionAt(o, i); }
  int64_t first_output() const { return o * job.box.inner_count + i; }
  int64_t Element(int64_t p, int64_t k) const {
    return rows() ? job.ElementAt(o + p, k, 0) : job.ElementAt(o, k, i + p);
  }
  double Prediction(int64_t p, int64_t k) const { return PredictionAt(job, Element(p, k)); }

  void ZeroGradient(int64_t size) const {
    std::byte* gradient = job.out.gradient.data();
    if (rows()) {
      std::memset(gradient + Element(0, 0) * size, 0, width * job.classes() * size);
      return;
    }
    for (int64_t k = 0; k < job.classes(); ++k) {
      std::memset(gradient + Element(0, k) * size, 0, width * size);
    }
  }
};

// The predictions at the labels, raised to the loss's domain.
template <class Head>
void PickPredictions(const Head& head, const Line& line, const Positions& positions, double* picked,
                     UnitSums& unit) {
  const BoxJob& job = line.job;
  const bool hits = job.run.plan.outputs().argmax_hits;
  for (int64_t p = 0; p < line.width; ++p) {
    const int64_t y = positions.label[p];
    double x = y < 0 ? 1.0 : line.Prediction(p, y);
    // One and the same NaN, whatever NaN it was.
    if (std::isnan(x) || x == std::numeric_limits<double>::infinity()) x = kNaN;
    if (std::isnan(x)) unit.CountNonFinite(line.first_position() + p);
    if (head.Clamps(x)) ++unit.sums.clamped_count;
    picked[p] = x;
    if (!hits) continue;
    const auto at = [&](int64_t k) { return line.Prediction(p, k); };
    const bool hit = y >= 0 && IsArgMax(job.classes(), y, /*peak=*/kNaN, job.stop, at);
    WriteHit(job, line.first_output() + p, hit, unit);
  }
}

template <class Head>
void Pick(const Head& head, const BoxJob& job, const Stretch& stretch, Workspace& work,
          UnitSums& unit) {
  const Line line{job, stretch.o, stretch.i, stretch.count};
  const int64_t width = line.width;
  Positions& positions = work.positions;
  positions.Load(job.run, line.first_position(), width, WeightOf::kLabel);

  double* picked = work.losses.Get<double>(3 * width);
  double* log = picked + width;
  double* gradient = log + width;
  PickPredictions(head, line, positions, picked, unit);
  head.Values(picked, width, log);
  for (int64_t p = 0; p < width; ++p) {
    const double w = positions.label[p] >= 0 ? positions.weight[p] : 0;
    const double a = positions.gradient[p] * w;
    gradient[p] = a == 0 ? 0 : head.Gradient(a, picked[p]);
    if (std::isnan(gradient[p]) || std::isnan(picked[p])) gradient[p] = a == 0 ? 0 : kNaN;
    log[p] = -w * log[p];
  }
  AddPositions(job, positions, line.first_output(), /*loss=*/log, positions.weight.data(), unit);
  if (job.out.gradient.empty()) return;

  const Real real = job.run.gradient_real();
  line.ZeroGradient(kernels::SizeOf(real));
  for (int64_t p = 0; p < width; ++p) {
    if (gradient[p] == 0) continue;
    StoreReal(real, gradient[p], job.out.gradient.data(), line.Element(p, positions.label[p]));
  }
}

void Run(const BoxJob& job, const Cut&, const Stretch& stretch, Workspace& work, UnitSums& unit) {
  WithPickHead(job.run.plan.spec().loss,
               [&](const auto& head) { Pick(head, job, stretch, work, unit); });
}

Cut CutPositions(const LossPlan& plan, const Box& box, bool one_piece) {
  return one_piece ? CutIntoLongStretches(plan, box) : CutIntoTiles(plan, box);
}

int64_t ScratchBytes(const LossPlan&, bool) { return 0; }  // nothing that grows with the classes

kernels::Compute ComputeType(const LossPlan&) { return kernels::Compute::kDouble; }

}  // namespace

const Runner kPicked = {CutPositions, ScratchBytes, ComputeType, Run};

}  // namespace lossd
