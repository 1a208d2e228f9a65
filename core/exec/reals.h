#ifndef LOSSD_CORE_EXEC_REALS_H_
#define LOSSD_CORE_EXEC_REALS_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/kernels/kernels.h"
#include "core/kernels/narrow.h"
#include "lossd/dtype.h"

// Between the tensors' dtypes and the kernels' formats.

namespace lossd {

// Precondition: IsFloating(dtype).
constexpr kernels::Real RealOf(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return kernels::Real::kF64;
    case DType::kF16:
      return kernels::Real::kF16;
    case DType::kBF16:
      return kernels::Real::kBF16;
    default:
      return kernels::Real::kF32;
  }
}

constexpr kernels::Compute ComputeOf(kernels::Real real) {
  return real == kernels::Real::kF64 ? kernels::Compute::kDouble : kernels::Compute::kFloat;
}

constexpr int64_t SizeOf(kernels::Compute compute) {
  return compute == kernels::Compute::kFloat ? 4 : 8;
}

constexpr int Index(kernels::Real real) { return static_cast<int>(real); }
constexpr int Index(kernels::Compute compute) { return static_cast<int>(compute); }

inline double LoadReal(kernels::Real real, const void* base, int64_t i) {
  return kernels::Load(real, static_cast<const char*>(base) + i * kernels::SizeOf(real));
}
inline void StoreReal(kernels::Real real, double value, void* base, int64_t i) {
  kernels::Store(real, value, static_cast<char*>(base) + i * kernels::SizeOf(real));
}

// The NaN of every output, whatever NaN came in.
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline double OneNaN(double value) { return std::isnan(value) ? kNaN : value; }

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_REALS_H_
