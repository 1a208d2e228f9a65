#include "core/exec/dense_targets.h"

#include <algorithm>
#include <type_traits>

#include "core/exec/hits.h"

namespace lossd {
namespace {

using kernels::Compute;

// w(k) at one position, in double, for a part of the classes at a time.
class WeightRow {
 public:
  explicit WeightRow(const RunState& run)
      : run_(run), part_(std::min(run.plan.classes(), kernels::kPollElements), 1.0) {}

  // Of classes begin .. end - 1, at most kPollElements.
  const double* At(int64_t position, int64_t begin, int64_t end) {
    if (!run_.class_weights.given()) return part_.data();
    if (run_.class_weights.same_everywhere()) return run_.class_weights.Table() + begin;
    const int64_t o = position / run_.plan.inner();
    const int64_t i = position % run_.plan.inner();
    for (int64_t k = begin; k < end; ++k) part_[k - begin] = run_.class_weights.At(o, k, i);
    return part_.data();
  }

 private:
  const RunState& run_;
  std::vector<double> part_;
};

// Targets that are their own coefficients.
CoefficientRows AsTheyAre(const Rows& rows, int64_t classes, Compute compute, kernels::Stop stop) {
  const int64_t size = compute == Compute::kFloat ? 4 : 8;
  CoefficientRows result;
  result.base = rows.targets;
  result.stride = classes * size;
  for (int64_t r = 0; r < rows.count; ++r) {
    result.weight.push_back(kernels::Active().mass[Index(compute)](result.Row(r), classes, stop));
  }
  return result;
}

// Calls body(begin, end) for parts of a row between which the stop is looked at.
template <class Body>
void ForParts(int64_t classes, kernels::Stop stop, Body body) {
  for (int64_t k = 0; kernels::GoesOn(k, classes, stop); k += kernels::kPollElements) {
    body(k, std::min(classes, k + kernels::kPollElements));
  }
}

// Everything in double, rounded to C once.
template <class C>
CoefficientRows Make(const RunState& run, const Rows& rows, kernels::Stop stop, Workspace& work) {
  const kernels::KernelSet& kernels = kernels::Active();
  const int64_t classes = run.plan.classes();
  const double smoothing = run.plan.spec().label_smoothing;
  const double spread = smoothing / static_cast<double>(classes);
  const double kept = 1 - smoothing;
  C* c = work.coefficients.Get<C>(rows.count * classes);
  double* wide = std::is_same_v<C, double> ? nullptr : work.wide_row.Get<double>(classes);
  CoefficientRows result;
  result.base = reinterpret_cast<const std::byte*>(c);
  result.stride = classes * static_cast<int64_t>(sizeof(C));
  WeightRow weights(run);
  for (int64_t r = 0; r < rows.count; ++r) {
    C* row = c + r * classes;
    if constexpr (std::is_same_v<C, double>) wide = row;
    const int64_t position = rows.first_position + r;
    if (rows.targets) {
      const kernels::Real real = RealOf(run.plan.dense_dtype());
      const std::byte* targets = rows.targets + r * classes * kernels::SizeOf(real);
      ForParts(classes, stop, [&](int64_t begin, int64_t end) {
        const double* w = weights.At(position, begin, end);
        kernels.widen[Index(Compute::kDouble)][Index(real)](targets + begin * kernels::SizeOf(real),
                                                            end - begin, wide + begin);
        for (int64_t k = begin; k < end; ++k) wide[k] *= w[k - begin];
      });
      result.weight.push_back(kernels.mass[Index(Compute::kDouble)](wide, classes, stop));
      ForParts(classes, stop, [&](int64_t begin, int64_t end) {
        const double* w = weights.At(position, begin, end);
        if (kept == 0) std::fill(wide + begin, wide + end, 0.0);  // whatever the targets are
        for (int64_t k = begin; k < end; ++k) {
          row[k] = static_cast<C>(kept * wide[k] + spread * w[k - begin]);
        }
      });
    } else {
      const int64_t y = work.positions.label[r];
      result.weight.push_back(work.positions.weight[r]);
      ForParts(classes, stop, [&](int64_t begin, int64_t end) {
        const double* w = weights.At(position, begin, end);
        for (int64_t k = begin; k < end; ++k) row[k] = static_cast<C>(spread * w[k - begin]);
      });
      if (y < 0) continue;
      const double w = *weights.At(position, y, y + 1);
      row[y] = static_cast<C>(kept * w + spread * w);
    }
  }
  return result;
}

// Whether the targets are their own coefficients, and nothing is computed.
bool AreTargetsCoefficients(const LossPlan& plan, Compute compute) {
  const kernels::Real own = compute == Compute::kFloat ? kernels::Real::kF32 : kernels::Real::kF64;
  return !plan.hard_targets() && plan.spec().label_smoothing == 0 && !plan.has_class_weights() &&
         RealOf(plan.dense_dtype()) == own;
}

}  // namespace

CoefficientRows MakeCoefficients(const RunState& run, const Rows& rows, Compute compute,
                                 kernels::Stop stop, Workspace& work) {
  if (AreTargetsCoefficients(run.plan, compute)) {
    return AsTheyAre(rows, run.plan.classes(), compute, stop);
  }
  return compute == Compute::kFloat ? Make<float>(run, rows, stop, work)
                                    : Make<double>(run, rows, stop, work);
}

int64_t CoefficientBytes(const LossPlan& plan, Compute compute, int64_t elements) {
  if (AreTargetsCoefficients(plan, compute)) return 0;
  if (compute == Compute::kDouble) return elements * 8;
  return elements * 4 + plan.classes() * 8;  // and one row in double
}

int64_t TargetClass(const BoxJob& job, const Rows& rows, int64_t r, const Positions& positions) {
  const int64_t label = positions.label[r];
  if (!rows.targets || label < 0) return label;
  const kernels::Real real = RealOf(job.run.plan.dense_dtype());
  const int64_t classes = job.classes();
  return ArgMax(real, rows.targets + r * classes * kernels::SizeOf(real), classes, job.stop);
}

}  // namespace lossd
