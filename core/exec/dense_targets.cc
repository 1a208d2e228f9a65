#include "core/exec/dense_targets.h"

namespace lossd {
namespace {

using kernels::Compute;

// Weights of all classes at one position.
template <class C>
class WeightRow {
 public:
  explicit WeightRow(const RunState& run) : run_(run), row_(run.plan.classes(), C{1}) {
    if (!run.class_weights.same_everywhere()) return;
    const std::vector<double>& table = run.class_weights.Table();
    for (size_t k = 0; k < table.size(); ++k) row_[k] = static_cast<C>(table[k]);
  }

  const C* At(int64_t position) {
    if (run_.class_weights.given() && !run_.class_weights.same_everywhere()) {
      const int64_t o = position / run_.plan.inner();
      const int64_t i = position % run_.plan.inner();
      for (size_t k = 0; k < row_.size(); ++k) {
        row_[k] = static_cast<C>(run_.class_weights.At(o, static_cast<int64_t>(k), i));
      }
    }
    return row_.data();
  }

 private:
  const RunState& run_;
  std::vector<C> row_;
};

template <class C>
CoefficientRows Make(const RunState& run, const Rows& rows, Compute compute, Workspace& work) {
  const kernels::KernelSet& kernels = kernels::Active();
  const int64_t classes = run.plan.classes();
  const double smoothing = run.plan.spec().label_smoothing;
  const Positions& positions = work.positions;
  CoefficientRows result;
  result.stride = classes * static_cast<int64_t>(sizeof(C));
  result.weight.assign(rows.count, 0.0);

  const kernels::Real target_real =
      rows.targets ? RealOf(run.plan.tensors().targets.dtype) : kernels::Real::kF32;
  const bool as_they_are = rows.targets && smoothing == 0 && !run.class_weights.given() &&
                           kernels::SizeOf(target_real) == static_cast<int64_t>(sizeof(C));
  C* c = nullptr;
  if (as_they_are) {
    result.base = rows.targets;
  } else {
    c = work.coefficients.Get<C>(rows.count * classes);
    result.base = reinterpret_cast<const std::byte*>(c);
    if (rows.targets) {
      kernels.widen[Index(compute)][Index(target_real)](rows.targets, rows.count * classes, c);
    }
  }

  WeightRow<C> weights(run);
  const auto keep = static_cast<C>(1 - smoothing);
  const auto spread = static_cast<C>(smoothing / static_cast<double>(classes));
  for (int64_t r = 0; r < rows.count; ++r) {
    C* row = c + r * classes;
    const bool weighted = run.class_weights.given();
    const C* w = weighted ? weights.At(rows.first_position + r) : nullptr;
    if (rows.targets) {
      for (int64_t k = 0; weighted && k < classes; ++k) row[k] *= w[k];
      result.weight[r] = kernels.mass[Index(compute)](result.Row(r), classes);
      for (int64_t k = 0; smoothing != 0 && k < classes; ++k) {
        row[k] = keep * row[k] + spread * (weighted ? w[k] : C{1});
      }
    } else {
      result.weight[r] = positions.weight[r];
      for (int64_t k = 0; k < classes; ++k) row[k] = spread * (weighted ? w[k] : C{1});
      const int64_t y = positions.label[r];
      if (y >= 0) row[y] = static_cast<C>((1 - smoothing) * positions.weight[r] + row[y]);
    }
  }
  return result;
}

}  // namespace

CoefficientRows MakeCoefficients(const RunState& run, const Rows& rows, Workspace& work) {
  const Compute compute = run.coefficient_compute();
  return compute == Compute::kFloat ? Make<float>(run, rows, compute, work)
                                    : Make<double>(run, rows, compute, work);
}

}  // namespace lossd
