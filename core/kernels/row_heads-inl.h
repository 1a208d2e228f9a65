// The heads of losses of whole rows, in double. Compiled once per target.
//
// A head is made for one row; called, it says l and has written dl/dx. Its name is that of the
// loss; its options come in the order of the loss's row. Sums over the classes run on kGroup
// virtual lanes.

#if defined(LOSSD_CORE_KERNELS_ROW_HEADS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_ROW_HEADS_INL_H_
#undef LOSSD_CORE_KERNELS_ROW_HEADS_INL_H_
#else
#define LOSSD_CORE_KERNELS_ROW_HEADS_INL_H_
#endif

#include <cmath>
#include <limits>
#include <string_view>
#include <tuple>

#include "core/kernels/kernels.h"
#include "core/kernels/row_lanes-inl.h"
#include "core/kernels/transport_head-inl.h"
#include "core/kernels/vector_heads-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// sum_k w_k t_k (log t_k - x_k); with log_targets t is given by its logarithm.
class KlDivergence {
 public:
  static constexpr std::string_view kName = "kl_divergence";

  HWY_INLINE explicit KlDivergence(const RowArrays& row) : row_(row) {}

  HWY_INLINE double operator()() const {
    const bool log_targets = row_.options[0] != 0;
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      const Lanes t = LanesAt(row_.t, k);
      const Lanes w = row_.weight == nullptr ? Same(1) : LanesAt(row_.weight, k);
      const Lanes c = Select(w == 0.0, 0.0, w * (log_targets ? Exp(t) : t));
      const Lanes log_t = log_targets ? t : Log(t);
      const Lanes term = Term(c, log_t - LanesAt(row_.x, k));
      Put(Select(here, term, 0.0), row_.terms, k);
      Put(-c, row_.slope, k);
    });
    return SumOf(row_.terms, row_.classes);
  }

 private:
  const RowArrays& row_;
};

// Margins v_k = max(0, margin - x_y + x_k) of the classes but y: their powers, summed and divided
// by C, or the largest.
class MultiMargin {
 public:
  static constexpr std::string_view kName = "multi_margin";

  HWY_INLINE explicit MultiMargin(const RowArrays& row)
      : row_(row),
        margin_(row.options[0]),
        squared_(row.options[1] == 2),
        max_(row.options[2] == 2) {}

  HWY_INLINE double operator()() const {
    const double own = row_.x[row_.label];
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      const Lanes v = AtLeast(LanesAt(row_.x, k) - own + margin_, 0);
      Put(Select(here, v, 0.0), row_.terms, k);
      const Lanes slope = squared_ ? 2 * v : Select(IsNan(v), v, 1.0);
      Put(Select(v <= 0.0, 0.0, slope), row_.slope, k);
    });
    row_.terms[row_.label] = 0;
    row_.slope[row_.label] = 0;
    return max_ ? Largest() : Mean();
  }

 private:
  HWY_INLINE double Largest() const {
    int64_t top = 0;
    for (int64_t k = 1; k < row_.classes; ++k) {
      // A NaN is the largest.
      if (!(row_.terms[k] <= row_.terms[top]) && row_.terms[top] == row_.terms[top]) top = k;
    }
    const double v = row_.terms[top];
    const double slope = row_.slope[top];
    for (int64_t k = 0; k < row_.classes; ++k) row_.slope[k] = 0;
    row_.slope[top] = slope;
    row_.slope[row_.label] -= slope;
    return squared_ ? v * v : v;
  }

  HWY_INLINE double Mean() const {
    const auto classes = static_cast<double>(row_.classes);
    const double own = SumOf(row_.slope, row_.classes) / classes;
    ForLanes(row_.classes, [&](int64_t k, LaneMask) HWY_ATTR {
      const Lanes v = LanesAt(row_.terms, k);
      if (squared_) Put(v * v, row_.terms, k);
      Put(LanesAt(row_.slope, k) / Same(classes), row_.slope, k);
    });
    row_.slope[row_.label] = -own;
    return SumOf(row_.terms, row_.classes) / classes;
  }

  const RowArrays& row_;
  double margin_;
  bool squared_;
  bool max_;
};

// e^-d - 1 + d, times p; where p vanishes, what p e^-d is.
HWY_INLINE Lanes Divergent(Lanes p, Lanes d, Lanes other) {
  const Lanes far = other + p * (d - 1.0);
  const Lanes sum = Select(d < -600.0, far, p * ExpMinusLine(-d));
  return Select(p == 0.0, other, sum);
}

// The divergence between the softmax of a teacher, P, and that of the student, Q.
class Distillation {
 public:
  static constexpr std::string_view kName = "distillation";

  HWY_INLINE explicit Distillation(const RowArrays& row)
      : row_(row),
        divergence_(static_cast<Divergence>(row.options[0])),
        mixture_(std::isnan(row.options[1]) ? 0.5 : row.options[1]),
        temperature_(row.options[2]),
        scale_(row.options[3] != 0 ? temperature_ * temperature_ : 1) {}

  HWY_INLINE double operator()() {
    student_ = Reduce(row_.x);
    teacher_ = Reduce(row_.second);
    if (std::isnan(student_.rest) || std::isnan(teacher_.rest)) {
      return std::numeric_limits<double>::quiet_NaN();
    }
    switch (divergence_) {
      case Divergence::kForwardKl:
        return scale_ * Forward();
      case Divergence::kReverseKl:
        return scale_ * Reverse();
      case Divergence::kJensenShannon:
        break;
    }
    return scale_ * JensenShannon();
  }

 private:
  enum class Divergence : int8_t { kForwardKl = 1, kReverseKl, kJensenShannon };

  // Of logits over the temperature: the largest, and the sum of e^(z - peak) without it; a NaN
  // where the row has a NaN, +inf, or nothing but -inf.
  struct Sums {
    double peak;
    double rest;
    double log_sum;  // log(1 + rest)
  };
  HWY_INLINE Sums Reduce(const double* x) const {
    int64_t top = 0;
    bool poisonous = false;
    for (int64_t k = 0; k < row_.classes; ++k) {
      poisonous |= !(x[k] < kInfinity<double>);
      if (x[k] > x[top]) top = k;
    }
    if (poisonous || std::isinf(x[top])) {
      return {0, std::numeric_limits<double>::quiet_NaN(), 0};
    }
    const double peak = x[top];
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      const Lanes e = Exp((LanesAt(x, k) - peak) / Same(temperature_));
      Put(Select(here, e, 0.0), row_.terms, k);
    });
    row_.terms[top] = 0;
    const double rest = SumOf(row_.terms, row_.classes);
    alignas(64) double log_sum[kGroup];
    Put(Log1p(Same(rest)), log_sum, 0);
    return {peak, rest, log_sum[0]};
  }

  // What is known of a class: both probabilities and the difference of their logarithms.
  struct Class {
    Lanes p;
    Lanes q;
    Lanes d;
  };
  HWY_INLINE Class At(int64_t k) const {
    const Lanes z = (LanesAt(row_.second, k) - teacher_.peak) / Same(temperature_);
    const Lanes y = (LanesAt(row_.x, k) - student_.peak) / Same(temperature_);
    return {Exp(z) / Same(1 + teacher_.rest), Exp(y) / Same(1 + student_.rest),
            (z - y) - (teacher_.log_sum - student_.log_sum)};
  }

  // What the gradients of all three are scaled by.
  HWY_INLINE Lanes Scaled(Lanes slope) const { return (scale_ / temperature_) * slope; }

  HWY_INLINE double Forward() const {
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      const Class c = At(k);
      const LaneMask masked = hn::And(c.p == 0.0, c.q == 0.0);
      const Lanes term = Divergent(c.p, c.d, c.q);
      Put(Select(here, Select(masked, 0.0, term), 0.0), row_.terms, k);
      const Lanes slope = Select(c.d <= 0.0, -(c.q * Expm1(c.d)), c.p * Expm1(-c.d));
      Put(Scaled(Select(masked, 0.0, Select(c.p == 0.0, c.q, slope))), row_.slope, k);
    });
    return SumOf(row_.terms, row_.classes);
  }

  HWY_INLINE double Reverse() const {
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      const Class c = At(k);
      const LaneMask masked = hn::And(c.p == 0.0, c.q == 0.0);
      const Lanes term = Divergent(c.q, -c.d, c.p);
      Put(Select(here, Select(masked, 0.0, term), 0.0), row_.terms, k);
    });
    const double loss = SumOf(row_.terms, row_.classes);
    ForLanes(row_.classes, [&](int64_t k, LaneMask) HWY_ATTR {
      const Class c = At(k);
      Put(Scaled(Term(c.q, -c.d - loss)), row_.slope, k);
    });
    return loss;
  }

  // With the mixture M = b P + (1 - b) Q, and log(M / Q) without cancellation.
  HWY_INLINE double JensenShannon() const {
    const double b = mixture_;
    const auto log_share = [&](const Class& c) HWY_ATTR {
      return -Select(c.d <= 0.0, Log1p(b * Expm1(c.d)), c.d + Log1p((1 - b) * Expm1(-c.d)));
    };
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      const Class c = At(k);
      const Lanes m = b * c.p + (1 - b) * c.q;
      const Lanes term = Select(m == 0.0, 0.0, Divergent(c.q, log_share(c), m));
      Put(Select(here, term, 0.0), row_.terms, k);
    });
    const double of_student = SumOf(row_.terms, row_.classes);
    ForLanes(row_.classes, [&](int64_t k, LaneMask here) HWY_ATTR {
      const Class c = At(k);
      const Lanes m = b * c.p + (1 - b) * c.q;
      const Lanes share = log_share(c);
      const Lanes of_teacher = Select(c.q == 0.0, -Log(Same(b)), c.d + share);
      const Lanes term = Select(m == 0.0, 0.0, Divergent(c.p, of_teacher, m));
      Put(Select(here, term, 0.0), row_.terms, k);
      Put(Scaled((1 - b) * Term(c.q, share - of_student)), row_.slope, k);
    });
    return b * SumOf(row_.terms, row_.classes) + (1 - b) * of_student;
  }

  const RowArrays& row_;
  Divergence divergence_;
  double mixture_;
  double temperature_;
  double scale_;
  Sums student_ = {};
  Sums teacher_ = {};
};

using RowHeads = std::tuple<KlDivergence, MultiMargin, Distillation, SeveralQuantiles,
                            MultiLabelMargin, CosineEmbedding, Wasserstein>;
constexpr int kRowHeads = static_cast<int>(std::tuple_size_v<RowHeads>);

// The index of a head in KernelSet::row_heads by the loss's name; kRowHeads if there is none.
constexpr int RowHeadIndex(std::string_view name) {
  return []<class... Heads>(std::string_view wanted, const std::tuple<Heads...>*) {
    const std::string_view names[] = {Heads::kName...};
    int index = 0;
    while (index < kRowHeads && names[index] != wanted) ++index;
    return index;
  }(name, static_cast<const RowHeads*>(nullptr));
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
