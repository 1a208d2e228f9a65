// Heads of losses that compare the numbers of a row with each other, with one target, or with
// another row. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_VECTOR_HEADS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_VECTOR_HEADS_INL_H_
#undef LOSSD_CORE_KERNELS_VECTOR_HEADS_INL_H_
#else
#define LOSSD_CORE_KERNELS_VECTOR_HEADS_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <string_view>

#include "core/kernels/row_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// The sum over the classes of w_k times the quantile loss of d_k = x_k - t; options are one
// quantile a class.
class SeveralQuantiles {
 public:
  static constexpr std::string_view kName = "quantile";

  HWY_INLINE explicit SeveralQuantiles(const RowArrays& row) : row_(row) {}

  HWY_INLINE double operator()() const {
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      const Lanes quantile = Select(here, LanesAt(row_.options, k), 0.5);
      const Lanes w = row_.weight == nullptr ? Same(1) : LanesAt(row_.weight, k);
      const Lanes d = LanesAt(row_.x, k) - row_.target;
      const Lanes cost = Select(d < 0.0, quantile, 1 - quantile);
      Put(Select(here, Term(w, cost * Abs(d)), 0.0), row_.terms, k);
      Put(Term(w, cost * Sign(d)), row_.slope, k);
    });
    return SumOf(row_.terms, row_.classes);
  }

 private:
  const RowArrays& row_;
};

// (1/C) sum over j in the list, i not in it, of max(0, 1 - x_j + x_i).
class MultiLabelMargin {
 public:
  static constexpr std::string_view kName = "multi_label_margin";

  HWY_INLINE explicit MultiLabelMargin(const RowArrays& row)
      : row_(row), other_(row.scratch[1]), active_(row.scratch[2]) {}

  HWY_INLINE double operator()() const {
    std::fill_n(other_, row_.classes, 1.0);
    std::fill_n(row_.slope, row_.classes, 0.0);
    for (int64_t j = 0; j < row_.label_count; ++j) other_[LabelAt(j)] = 0;
    double loss = 0;
    for (int64_t j = 0; j < row_.label_count && !Stopped(row_.stop); ++j) loss += Of(LabelAt(j));
    const auto classes = static_cast<double>(row_.classes);
    ForLanes(row_.classes, [&](int64_t k, LaneMask) HWY_ATTR {
      Put(LanesAt(row_.slope, k) / Same(classes), row_.slope, k);
    });
    return loss / classes;
  }

 private:
  HWY_INLINE int64_t LabelAt(int64_t j) const { return static_cast<int64_t>(row_.labels[j]); }

  // The margins of one label; adds how often each class counts to the slopes.
  HWY_INLINE double Of(int64_t label) const {
    const double own = row_.x[label];
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      const Lanes v = AtLeast(LanesAt(row_.x, k) - own + Same(1), 0);
      const LaneMask counts = hn::And(here, LanesAt(other_, k) > 0.0);
      const Lanes active = Select(hn::And(counts, v > 0.0), 1.0, 0.0);
      Put(Select(counts, v, 0.0), row_.terms, k);
      Put(active, active_, k);
      Put(LanesAt(row_.slope, k) + active, row_.slope, k);
    });
    row_.slope[label] -= SumOf(active_, row_.classes);
    return SumOf(row_.terms, row_.classes);
  }

  const RowArrays& row_;
  double* other_;   // 1 for classes that are not in the list
  double* active_;  // 1 for those whose margin is not kept
};

// 1 - c where the target is 1, max(0, c - margin) where it is -1; c is the cosine of two vectors.
// With the unit vectors u and v and h = |u - v|^2 / 2 it is 1 - h, and v - c u is h u - (u - v),
// which keep their digits where the vectors are alike.
class CosineEmbedding {
 public:
  static constexpr std::string_view kName = "cosine_embedding";

  HWY_INLINE explicit CosineEmbedding(const RowArrays& row)
      : row_(row), u_(row.scratch[0]), v_(row.scratch[1]) {}

  HWY_INLINE double operator()() const {
    if (std::isnan(row_.target)) return row_.target;
    const double margin = row_.options[0];
    const double first = Normalize(row_.x, u_);
    const double second = Normalize(row_.second, v_);
    if (std::isnan(first + second)) return first + second;
    const bool alike = row_.target == 1;
    if (first == 0 || second == 0) {
      *row_.clamped = true;
      Flatten();
      return alike ? 1 : std::max(0.0, -margin);
    }
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      const Lanes d = LanesAt(u_, k) - LanesAt(v_, k);
      Put(Select(here, 0.5 * (d * d), 0.0), row_.terms, k);
    });
    const double h = SumOf(row_.terms, row_.classes);
    const double cosine = CosineOf(h);
    if (!alike && cosine <= margin) {
      Flatten();
      return 0;
    }
    const double sign = alike ? 1 : -1;
    ForLanes(row_.classes, [&](int64_t k, LaneMask) HWY_ATTR {
      const Lanes u = LanesAt(u_, k);
      const Lanes v = LanesAt(v_, k);
      Put((sign * ((u - v) - h * u)) / Same(first), row_.slope, k);
      Put((sign * ((v - u) - h * v)) / Same(second), row_.second_slope, k);
    });
    return alike ? h : cosine - margin;
  }

 private:
  // Writes x / |x| and returns |x|: 0 of zeros, NaN where there is a NaN or an infinity.
  HWY_INLINE double Normalize(const double* x, double* unit) const {
    double peak = 0;
    for (int64_t k = 0; k < row_.classes; ++k) {
      const double size = std::fabs(x[k]);
      if (!(size <= peak) && !std::isnan(peak)) peak = size;
    }
    if (peak == 0) return 0;
    if (!std::isfinite(peak)) return std::numeric_limits<double>::quiet_NaN();
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      const Lanes part = Select(here, LanesAt(x, k) / Same(peak), 0.0);
      Put(part, unit, k);
      Put(part * part, row_.terms, k);
    });
    const double norm = std::sqrt(SumOf(row_.terms, row_.classes));
    ForLanes(row_.classes,
             [&](int64_t k, LaneMask) HWY_ATTR { Put(LanesAt(unit, k) / Same(norm), unit, k); });
    return peak * norm;
  }

  // Never above 1 and, near it, with all its digits.
  HWY_INLINE double CosineOf(double h) const {
    if (h < 0.5) return 1 - h;
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      Put(Select(here, LanesAt(u_, k) * LanesAt(v_, k), 0.0), row_.terms, k);
    });
    return SumOf(row_.terms, row_.classes);
  }

  HWY_INLINE void Flatten() const {
    std::fill_n(row_.slope, row_.classes, 0.0);
    std::fill_n(row_.second_slope, row_.classes, 0.0);
  }

  const RowArrays& row_;
  double* u_;
  double* v_;
};

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
