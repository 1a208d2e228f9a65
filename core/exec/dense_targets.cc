#include "core/exec/dense_targets.h"

namespace lossd {
namespace {

using kernels::Compute;

// w(k) of all classes at one position, in double.
class WeightRow {
 public:
  explicit WeightRow(const RunState& run) : run_(run), row_(run.plan.classes(), 1.0) {}

  const double* At(int64_t position) {
    if (!run_.class_weights.given()) return row_.data();
    if (run_.class_weights.same_everywhere()) return run_.class_weights.Table().data();
    const int64_t o = position / run_.plan.inner();
    const int64_t i = position % run_.plan.inner();
    for (size_t k = 0; k < row_.size(); ++k) {
      row_[k] = run_.class_weights.At(o, static_cast<int64_t>(k), i);
    }
    return row_.data();
  }

 private:
  const RunState& run_;
  std::vector<double> row_;
};

// Targets that are their own coefficients.
CoefficientRows AsTheyAre(const Rows& rows, int64_t classes, Compute compute, int64_t size) {
  CoefficientRows result;
  result.base = rows.targets;
  result.stride = classes * size;
  for (int64_t r = 0; r < rows.count; ++r) {
    result.weight.push_back(kernels::Active().mass[Index(compute)](result.Row(r), classes));
  }
  return result;
}

// Everything in double, rounded to C once.
template <class C>
CoefficientRows Make(const RunState& run, const Rows& rows, Workspace& work) {
  const kernels::KernelSet& kernels = kernels::Active();
  const int64_t classes = run.plan.classes();
  const double smoothing = run.plan.spec().label_smoothing;
  const double spread = smoothing / static_cast<double>(classes);
  C* c = work.coefficients.Get<C>(rows.count * classes);
  double* wide = work.wide_row.Get<double>(classes);
  CoefficientRows result;
  result.base = reinterpret_cast<const std::byte*>(c);
  result.stride = classes * static_cast<int64_t>(sizeof(C));
  WeightRow weights(run);
  for (int64_t r = 0; r < rows.count; ++r) {
    C* row = c + r * classes;
    const double* w = weights.At(rows.first_position + r);
    if (rows.targets) {
      const kernels::Real real = RealOf(run.plan.tensors().targets.dtype);
      kernels.widen[Index(Compute::kDouble)][Index(real)](
          rows.targets + r * classes * kernels::SizeOf(real), classes, wide);
      for (int64_t k = 0; k < classes; ++k) wide[k] *= w[k];
      result.weight.push_back(kernels.mass[Index(Compute::kDouble)](wide, classes));
      for (int64_t k = 0; k < classes; ++k) {
        row[k] = static_cast<C>((1 - smoothing) * wide[k] + spread * w[k]);
      }
    } else {
      const int64_t y = work.positions.label[r];
      result.weight.push_back(work.positions.weight[r]);
      for (int64_t k = 0; k < classes; ++k) row[k] = static_cast<C>(spread * w[k]);
      if (y >= 0) row[y] = static_cast<C>((1 - smoothing) * w[y] + spread * w[y]);
    }
  }
  return result;
}

}  // namespace

CoefficientRows MakeCoefficients(const RunState& run, const Rows& rows, Workspace& work) {
  const Compute compute = run.coefficient_compute();
  const int64_t size = compute == Compute::kFloat ? 4 : 8;
  if (rows.targets && run.plan.spec().label_smoothing == 0 && !run.class_weights.given() &&
      SizeOf(run.plan.tensors().targets.dtype) == size) {
    return AsTheyAre(rows, run.plan.classes(), compute, size);
  }
  return compute == Compute::kFloat ? Make<float>(run, rows, work) : Make<double>(run, rows, work);
}

}  // namespace lossd
