// The multinomial logistic and nll losses: everything that needs no sum over the predictions.

#include <cmath>
#include <cstring>
#include <limits>

#include "core/exec/argmax.h"
#include "core/exec/box_job.h"
#include "core/exec/dense_targets.h"
#include "core/exec/hits.h"
#include "core/exec/pick_heads.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::Real;

double PredictionAt(const BoxJob& job, int64_t element) {
  const Real real = job.run.real();
  const int64_t size = kernels::SizeOf(real);
  std::byte bytes[8];
  job.in.predictions.CopyTo(element * size, size, bytes);
  return LoadReal(real, bytes, 0);
}

// Positions along the box: rows if the inner extent is 1, else lanes of outer index o.
struct Line {
  const BoxJob& job;
  int64_t o;
  int64_t i;
  int64_t width;

  bool rows() const { return job.run.plan.inner() == 1; }
  int64_t Element(int64_t p, int64_t k) const {
    return rows() ? job.ElementAt(o + p, k, 0) : job.ElementAt(o, k, i + p);
  }
  double Prediction(int64_t p, int64_t k) const { return PredictionAt(job, Element(p, k)); }

  // Whether class `label` is the first largest of position p's predictions; false if one is NaN.
  bool IsArgMax(int64_t p, int64_t label) const {
    const double value = Prediction(p, label);
    for (int64_t k = 0; kernels::GoesOn(k, job.classes(), job.stop); ++k) {
      const double other = Prediction(p, k);
      if (k < label ? !(other < value) : !(other <= value)) return false;
    }
    return true;
  }

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

template <class Head>
void Pick(const Head& head, const BoxJob& job, int64_t o, int64_t i, int64_t width, Workspace& work,
          UnitSums& unit) {
  Positions& positions = work.positions;
  const int64_t first_position = job.PositionAt(o, i);
  const int64_t first_output = o * job.box.inner_count + i;
  positions.Load(job.run, first_position, width);
  const Line line{job, o, i, width};

  double* picked = work.losses.Get<double>(3 * width);
  double* log = picked + width;
  double* gradient = log + width;
  for (int64_t p = 0; p < width; ++p) {
    const int64_t y = positions.label[p];
    double x = y < 0 ? 1.0 : line.Prediction(p, y);
    // One and the same NaN, whatever NaN it was.
    if (std::isnan(x) || x == std::numeric_limits<double>::infinity()) x = kNaN;
    if (std::isnan(x)) unit.CountNonFinite(first_position + p);
    if (head.Clamps(x)) ++unit.sums.clamped_count;
    picked[p] = x;
    if (job.run.plan.outputs().argmax_hits) {
      WriteHit(job, first_output + p, y >= 0 && line.IsArgMax(p, y), unit);
    }
  }
  head.Values(picked, width, log);
  for (int64_t p = 0; p < width; ++p) {
    const double w = positions.label[p] >= 0 ? positions.weight[p] : 0;
    const double a = positions.gradient[p] * w;
    gradient[p] = a == 0 ? 0 : head.Gradient(a, picked[p]);
    if (std::isnan(gradient[p]) || std::isnan(picked[p])) gradient[p] = a == 0 ? 0 : kNaN;
    log[p] = -w * log[p];
  }
  AddPositions(job, positions, first_output, /*loss=*/log, positions.weight.data(), unit);
  if (job.out.gradient.empty()) return;

  const Real real = job.run.gradient_real();
  line.ZeroGradient(kernels::SizeOf(real));
  for (int64_t p = 0; p < width; ++p) {
    if (gradient[p] == 0) continue;
    StoreReal(real, gradient[p], job.out.gradient.data(), line.Element(p, positions.label[p]));
  }
}

template <class Head>
void RunRows(const Head& head, const BoxJob& job, const Rows& rows, Workspace& work,
             UnitSums& unit) {
  const kernels::KernelSet& kernels = kernels::Active();
  const int64_t classes = job.classes();
  const Real real = job.run.real();
  const Real out = job.run.gradient_real();
  Positions& positions = work.positions;
  positions.Load(job.run, rows.first_position, rows.count);
  const CoefficientRows c = MakeCoefficients(job.run, rows, job.stop, work);
  auto* g = work.exponentials.Get<double>(classes);
  auto* loss = work.losses.Get<double>(rows.count);

  for (int64_t r = 0; r < rows.count; ++r) {
    const std::byte* x = rows.predictions + r * classes * kernels::SizeOf(real);
    const auto* targets = reinterpret_cast<const double*>(c.Row(r));
    const int64_t output = rows.first_output + r;
    const bool counts = positions.label[r] >= 0;
    if (job.run.plan.outputs().argmax_hits) {
      int64_t label = positions.label[r];
      if (rows.targets) {
        const Real target_real = RealOf(job.run.plan.tensors().targets.dtype);
        label = ArgMax(target_real, rows.targets + r * classes * kernels::SizeOf(target_real), 1,
                       classes, job.stop);
      }
      WriteHit(job, output, counts && label >= 0 && ArgMax(real, x, 1, classes, job.stop) == label,
               unit);
    }
    kernels::PointwiseSums sums{};
    if (counts) {
      sums = head.Row(real, x, targets, classes, g, job.stop);
      if (sums.clamped && !sums.nonfinite) ++unit.sums.clamped_count;
      if (sums.nonfinite) unit.CountNonFinite(rows.first_position + r);
      loss[r] = sums.nonfinite ? kNaN : sums.loss;
    }
    if (!rows.gradient) continue;
    std::byte* gradient = rows.gradient + r * classes * kernels::SizeOf(out);
    const double a = positions.gradient[r];
    if (a == 0) {
      std::memset(gradient, 0, classes * kernels::SizeOf(out));
      continue;
    }
    if (sums.nonfinite) std::fill_n(g, classes, kNaN);
    const double factor = kernels::ToFinite<double>(a);
    kernels.scale_rows[Index(Compute::kDouble)][Index(out)](g, &factor, 1, classes, job.streaming,
                                                            gradient, job.stop);
  }
  AddPositions(job, positions, rows.first_output, loss, c.weight.data(), unit);
}

}  // namespace

void RunPicked(const BoxJob& job, int64_t o, int64_t i, int64_t width, Workspace& work,
               UnitSums& unit) {
  WithPickHead(job.run.plan.spec().loss,
               [&](const auto& head) { Pick(head, job, o, i, width, work, unit); });
}

void RunPointwiseRows(const BoxJob& job, const Rows& rows, Workspace& work, UnitSums& unit) {
  WithPickHead(job.run.plan.spec().loss,
               [&](const auto& head) { RunRows(head, job, rows, work, unit); });
}

}  // namespace lossd
