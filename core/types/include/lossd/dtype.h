#ifndef LOSSD_DTYPE_H_
#define LOSSD_DTYPE_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace lossd {

// Element types of tensors. Values are those of lossd.v1.DType.
enum class DType : int8_t {
  kF32 = 1,
  kF64 = 2,
  kF16 = 3,   // IEEE binary16
  kBF16 = 4,  // upper half of binary32
  kI8 = 5,
  kI16 = 6,
  kI32 = 7,
  kI64 = 8,
  kU8 = 9,
  kU16 = 10,
  kU32 = 11,
  kU64 = 12,
};

inline constexpr DType kAllDTypes[] = {DType::kF32, DType::kF64, DType::kF16, DType::kBF16,
                                       DType::kI8,  DType::kI16, DType::kI32, DType::kI64,
                                       DType::kU8,  DType::kU16, DType::kU32, DType::kU64};

// Bytes of one element.
int64_t SizeOf(DType dtype);

// Whether it is one of f32, f64, f16, bf16: the dtypes of predictions, gradients and weights.
bool IsFloating(DType dtype);

// "f32", "bf16", "i64", ...
std::string_view Name(DType dtype);
std::optional<DType> ParseDType(std::string_view name);

}  // namespace lossd

#endif  // LOSSD_DTYPE_H_
