#include "core/exec/class_weights.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

// Entries summed up by one unit, or those of one part of the outer axis: a unit costs as much as
// hundreds of them.
constexpr int64_t kEntriesPerUnit = int64_t{1} << 16;

// A sum with its rounding error beside it (Knuth's two-term sum): equal weights sum to their
// product exactly, so normalising them gives 1 exactly.
struct CompensatedSum {
  double high = 0;
  double low = 0;

  void Add(double term) {
    const double sum = high + term;
    const double part = sum - high;
    low += (high - (sum - part)) + (term - part);
    high = sum;
  }
  // The error of an infinite sum is NaN and means nothing.
  double Total() const { return std::isinf(high) ? high : high + low; }
};

}  // namespace

absl::StatusOr<ClassWeights> ClassWeights::Make(const LossPlan& plan, ByteSpan bytes,
                                                Executor& executor, StopToken stop) {
  ClassWeights weights;
  if (!plan.has_class_weights()) return weights;
  weights.given_ = true;
  weights.plan_ = plan.class_weights();
  weights.real_ = RealOf(weights.plan_.dtype);
  weights.bytes_ = bytes;
  weights.classes_ = plan.classes();

  const int64_t entries = static_cast<int64_t>(bytes.size()) / kernels::SizeOf(weights.real_);
  for (int64_t i = 0; kernels::GoesOn(i, entries, stop.flag()); ++i) {
    const double value = LoadReal(weights.real_, bytes.data(), i);
    if (!(value >= 0) || std::isinf(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("class_weights[", i, "] is ", value, "; wanted a finite number >= 0"));
    }
  }
  LOSSD_RETURN_IF_ERROR(stop.Check());

  // One sum per location (LOCAL) or per sample (GLOBAL).
  const ClassWeightsPlan& shape = weights.plan_;
  const bool global = shape.normalization == WeightNormalization::kGlobal;
  if (shape.normalization != WeightNormalization::kNone && shape.outer * shape.inner > 0) {
    const int64_t rows = global ? shape.outer / shape.samples : 1;  // outer rows of one sum
    const int64_t lanes = global ? shape.inner : 1;
    weights.count_ = static_cast<double>(rows * lanes * weights.classes_);
    weights.sums_.resize(shape.outer / rows * (shape.inner / lanes));
    const int64_t parts = shape.outer / rows;
    const int64_t per_unit =
        std::max<int64_t>(kEntriesPerUnit / (rows * weights.classes_ * shape.inner), 1);
    const int64_t units = (parts + per_unit - 1) / per_unit;
    LOSSD_RETURN_IF_ERROR(executor.ForEach(units, stop, [&](int64_t unit) {
      const int64_t end = std::min(parts, (unit + 1) * per_unit);
      for (int64_t part = unit * per_unit; part < end; ++part) {
        for (int64_t i = 0; i < shape.inner; i += lanes) weights.Sum(part * rows, i, stop.flag());
      }
    }));
    for (size_t i = 0; i < weights.sums_.size(); ++i) {
      if (!(weights.sums_[i] > 0) || std::isinf(weights.sums_[i])) {
        return absl::InvalidArgumentError(
            absl::StrCat("class_weights sum to ", weights.sums_[i], " over ",
                         global ? "sample " : "the classes at location ", i,
                         "; normalisation wants a finite sum > 0"));
      }
    }
  }
  if (shape.outer == 1 && shape.inner == 1) {
    auto* table = weights.table_memory_.Get<double>(weights.classes_);
    for (int64_t k = 0; kernels::GoesOn(k, weights.classes_, stop.flag()); ++k) {
      table[k] = weights.Normalized(0, k, 0);
    }
    weights.table_ = table;
  }
  LOSSD_RETURN_IF_ERROR(stop.Check());
  return weights;
}

// Adds up the part that begins at outer row `first_row`, inner index `i`.
void ClassWeights::Sum(int64_t first_row, int64_t i, kernels::Stop stop) {
  const bool global = plan_.normalization == WeightNormalization::kGlobal;
  const int64_t rows = global ? plan_.outer / plan_.samples : 1;
  const int64_t lanes = global ? plan_.inner : 1;
  CompensatedSum sum;
  for (int64_t row = first_row; row < first_row + rows; ++row) {
    for (int64_t k = 0; kernels::GoesOn(k, classes_, stop); ++k) {
      for (int64_t lane = i; lane < i + lanes; ++lane) sum.Add(Raw(row, k, lane));
    }
  }
  sums_[SumIndex(first_row, i)] = sum.Total();
}

int64_t ClassWeights::SumIndex(int64_t o, int64_t i) const {
  const int64_t row = o % plan_.outer;
  if (plan_.normalization == WeightNormalization::kGlobal) {
    return row / (plan_.outer / plan_.samples);
  }
  return row * plan_.inner + (plan_.inner == 1 ? 0 : i);
}

double ClassWeights::Raw(int64_t o, int64_t k, int64_t i) const {
  const int64_t row = (o % plan_.outer) * classes_ + k;
  return LoadReal(real_, bytes_.data(), row * plan_.inner + (plan_.inner == 1 ? 0 : i));
}

double ClassWeights::At(int64_t o, int64_t k, int64_t i) const {
  if (!given_) return 1;
  return same_everywhere() ? table_[k] : Normalized(o, k, i);
}

double ClassWeights::Normalized(int64_t o, int64_t k, int64_t i) const {
  const double raw = Raw(o, k, i);
  if (count_ == 0) return raw;
  const double sum = sums_[SumIndex(o, i)];
  // The product first, so that equal weights give exactly 1; unless it overflows.
  const double product = raw * count_;
  return std::isinf(product) ? raw / sum * count_ : product / sum;
}

}  // namespace lossd
