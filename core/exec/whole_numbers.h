#ifndef LOSSD_CORE_EXEC_WHOLE_NUMBERS_H_
#define LOSSD_CORE_EXEC_WHOLE_NUMBERS_H_

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include "core/exec/visit_elements.h"
#include "lossd/tensor.h"

namespace lossd {

// A number as a whole one; false where it is none that int64 can hold.
template <class T>
bool ToWhole(T value, int64_t* whole) {
  if constexpr (std::is_floating_point_v<T>) {
    if (!(std::fabs(value) < T{9.2e18}) || std::trunc(value) != value) return false;
    *whole = static_cast<int64_t>(value);
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    if (value > static_cast<uint64_t>(INT64_MAX)) return false;
    *whole = static_cast<int64_t>(value);
  } else {
    *whole = value;
  }
  return true;
}

// Element i of a tensor, which holds whole elements; nullopt where it is no whole number of int64.
inline std::optional<int64_t> WholeAt(DType dtype, ByteSpan bytes, int64_t i) {
  return VisitElements(dtype, bytes, [i](auto value_at) -> std::optional<int64_t> {
    int64_t whole = 0;
    if (!ToWhole(value_at(i), &whole)) return std::nullopt;
    return whole;
  });
}

// The element as its dtype would print it.
std::string ElementString(DType dtype, ByteSpan bytes, int64_t i);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_WHOLE_NUMBERS_H_
