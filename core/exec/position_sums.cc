#include "core/exec/position_sums.h"

#include <algorithm>
#include <cstring>

namespace lossd {
namespace {

// What some positions add to the sums, at most kMaxExactTerms of them.
struct Terms {
  double loss[kernels::kMaxExactTerms];
  int64_t ignored = 0;
  int64_t ones = 0;  // weights of 1, added as what they are together
};

// Positions without any weights.
void PlainTerms(const Positions& positions, int64_t begin, int64_t end, double loss_weight,
                const double* loss, Terms& terms) {
  terms.ignored = kernels::Active().counted_terms(positions.label.data() + begin, loss + begin,
                                                  loss_weight, end - begin, terms.loss);
  terms.ones = end - begin - terms.ignored;
  // What weighs nothing adds nothing, be it infinite or NaN.
  if (loss_weight == 0) std::fill_n(terms.loss, end - begin, 0.0);
}

void AddLosses(const Terms& terms, int64_t count, ExactSum& sum) {
  double parts[2];
  if (kernels::Active().exact_parts(terms.loss, count, parts)) {
    sum.Add(parts[0]);
    sum.Add(parts[1]);
  } else {
    sum.AddAll({terms.loss, static_cast<size_t>(count)});
  }
}

void WeightedTerms(const BoxJob& job, const Positions& positions, int64_t begin, int64_t end,
                   const double* loss, const double* weight, ExactSum& weight_sum, Terms& terms) {
  const double loss_weight = job.run.plan.spec().loss_weight;
  for (int64_t p = begin; p < end; ++p) {
    double& term = terms.loss[p - begin];
    term = 0;
    if (positions.label[p] < 0) {
      ++terms.ignored;
      continue;
    }
    const double weighs = positions.q[p] * weight[p];
    if (weighs == 1) {
      ++terms.ones;
    } else {
      weight_sum.Add(weighs);
    }
    const double scale = loss_weight * positions.q[p];
    // What weighs nothing adds nothing, be it infinite or NaN.
    const bool weightless =
        scale == 0 || (positions.weight_of == WeightOf::kLabel && weight[p] == 0);
    if (!weightless) term = scale * loss[p];
  }
}

}  // namespace

void AddPositions(const BoxJob& job, const Positions& positions, int64_t output, const double* loss,
                  const double* weight, UnitSums& unit) {
  const int64_t count = positions.count;
  const bool plain = positions.weight_of == WeightOf::kLabel && !job.run.class_weights.given() &&
                     !job.run.plan.tensors().position_weights;
  PartialSums& sums = unit.sums;
  for (int64_t begin = 0; begin < count; begin += kernels::kMaxExactTerms) {
    const int64_t end = std::min(count, begin + kernels::kMaxExactTerms);
    Terms terms;
    if (plain) {
      PlainTerms(positions, begin, end, job.run.plan.spec().loss_weight, loss, terms);
    } else {
      WeightedTerms(job, positions, begin, end, loss, weight, sums.weight_sum, terms);
    }
    AddLosses(terms, end - begin, sums.loss_sum);
    sums.weight_sum.Add(static_cast<double>(terms.ones));
    sums.position_count += end - begin;
    sums.ignored_count += terms.ignored;
    sums.valid_count += end - begin - terms.ignored;
    if (!job.run.plan.outputs().position_losses) continue;
    for (int64_t i = 0; i < end - begin; ++i) terms.loss[i] = OneNaN(terms.loss[i] + 0.0);  // no -0
    std::memcpy(job.out.position_losses.data() + (output + begin) * int64_t{sizeof(double)},
                terms.loss, (end - begin) * sizeof(double));
  }
}

}  // namespace lossd
