// The head of the Wasserstein loss. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_TRANSPORT_HEAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_TRANSPORT_HEAD_INL_H_
#undef LOSSD_CORE_KERNELS_TRANSPORT_HEAD_INL_H_
#else
#define LOSSD_CORE_KERNELS_TRANSPORT_HEAD_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "core/kernels/row_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// <P, M> of the plan P_ij = e^(phi_i + K_ij + psi_j), K = -lambda M, that Sinkhorn's algorithm
// finds in logarithms. A class without mass has the potential -inf, and its part of the plan is 0.
class Wasserstein {
 public:
  static constexpr std::string_view kName = "wasserstein";

  HWY_INLINE explicit Wasserstein(const RowArrays& row)
      : row_(row),
        lambda_(row.options[0]),
        iterations_(static_cast<int>(row.options[1])),
        gradient_(static_cast<Gradient>(row.options[2])),
        phi_(row.scratch[0]),
        psi_(row.scratch[1]),
        log_a_(row.scratch[2]),
        log_b_(row.scratch[3]) {}

  HWY_INLINE double operator()() const {
    const bool some_a = TakeLogs(row_.x, log_a_);
    const bool some_b = TakeLogs(row_.t, log_b_);
    if (!some_a || !some_b) {
      std::fill_n(row_.slope, row_.classes, 0.0);
      return 0;
    }
    alignas(64) double start[kGroup];
    Put(-Log(Same(static_cast<double>(row_.classes))), start, 0);
    std::fill_n(phi_, row_.classes, start[0]);
    for (int n = 0; n < iterations_ && !Stopped(row_.stop); ++n) {
      FindPsi();
      FindPhi();
    }
    FindPsi();
    WriteSlopes();
    return Cost();
  }

 private:
  enum class Gradient : int8_t { kCentred = 1, kMocha, kPotential };

  // Whether some element is not 0.
  HWY_INLINE bool TakeLogs(const double* mass, double* log) const {
    ForLanes(row_.classes,
             [&](int64_t k, LaneMask) HWY_ATTR { Put(Log(LanesAt(mass, k)), log, k); });
    return std::any_of(mass, mass + row_.classes, [](double m) { return m != 0; });
  }

  HWY_INLINE Lanes KernelAt(int64_t i, int64_t j) const {
    return -lambda_ * LanesAt(row_.metric + i * row_.classes, j);
  }

  // psi_j = log b_j - log sum_i e^(phi_i + K_ij).
  HWY_INLINE void FindPsi() const {
    double* const peak = row_.terms;
    double* const sum = row_.slope;
    std::fill_n(peak, row_.classes, -kInfinity<double>);
    std::fill_n(sum, row_.classes, 0.0);
    for (int64_t i = 0; i < row_.classes && !Stopped(row_.stop); ++i) {
      ForLanes(row_.classes, [&](int64_t j, LaneMask) HWY_ATTR {
        const Lanes z = KernelAt(i, j) + phi_[i];
        const Lanes known = LanesAt(peak, j);
        Put(Select(known < z, z, known), peak, j);
      });
    }
    for (int64_t i = 0; i < row_.classes && !Stopped(row_.stop); ++i) {
      ForLanes(row_.classes, [&](int64_t j, LaneMask) HWY_ATTR {
        const Lanes e = Exp(KernelAt(i, j) + phi_[i] - LanesAt(peak, j));
        Put(LanesAt(sum, j) + e, sum, j);
      });
    }
    ForLanes(row_.classes, [&](int64_t j, LaneMask) HWY_ATTR {
      const Lanes log_b = LanesAt(log_b_, j);
      const Lanes psi = log_b - (LanesAt(peak, j) + Log(LanesAt(sum, j)));
      Put(Select(log_b == -kInfinity<double>, log_b, psi), psi_, j);
    });
  }

  // log sum_j e^(psi_j + K_ij).
  HWY_INLINE double LogSumAt(int64_t i) const {
    double peak = -kInfinity<double>;
    ForLanes(row_.classes, [&](int64_t j, LaneMask)
                               HWY_ATTR { Put(KernelAt(i, j) + LanesAt(psi_, j), row_.terms, j); });
    for (int64_t j = 0; j < row_.classes; ++j) peak = std::max(peak, row_.terms[j]);
    ForLanes(row_.classes, [&](int64_t j, LaneMask here) HWY_ATTR {
      Put(Select(here, Exp(LanesAt(row_.terms, j) - peak), 0.0), row_.terms, j);
    });
    alignas(64) double log[kGroup];
    Put(Log(Same(SumOf(row_.terms, row_.classes))), log, 0);
    return peak + log[0];
  }

  HWY_INLINE void FindPhi() const {
    for (int64_t i = 0; i < row_.classes && !Stopped(row_.stop); ++i) {
      const bool none = log_a_[i] == -kInfinity<double>;
      phi_[i] = none ? log_a_[i] : log_a_[i] - LogSumAt(i);
    }
  }

  HWY_INLINE double Cost() const {
    double cost = 0;
    for (int64_t i = 0; i < row_.classes && !Stopped(row_.stop); ++i) {
      ForLanes(row_.classes, [&](int64_t j, LaneMask here) HWY_ATTR {
        const Lanes mass = Exp(KernelAt(i, j) + phi_[i] + LanesAt(psi_, j));
        const Lanes term = mass * LanesAt(row_.metric + i * row_.classes, j);
        Put(Select(here, term, 0.0), row_.terms, j);
      });
      cost += SumOf(row_.terms, row_.classes);
    }
    return cost;
  }

  HWY_INLINE void WriteSlopes() const {
    double sum = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < row_.classes && !Stopped(row_.stop); ++i) {
      const bool none = log_a_[i] == -kInfinity<double>;
      double slope = none ? 0 : phi_[i] / lambda_;
      if (gradient_ == Gradient::kPotential) slope = -LogSumAt(i) / lambda_;
      row_.slope[i] = slope;
      if (none) continue;
      sum += slope;
      ++count;
    }
    if (gradient_ == Gradient::kMocha) return;
    const double mean = sum / static_cast<double>(count);
    for (int64_t i = 0; i < row_.classes; ++i) {
      const bool none = log_a_[i] == -kInfinity<double>;
      if (!none || gradient_ == Gradient::kPotential) row_.slope[i] -= mean;
    }
  }

  const RowArrays& row_;
  double lambda_;
  int iterations_;
  Gradient gradient_;
  double* phi_;
  double* psi_;
  double* log_a_;
  double* log_b_;
};

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
