#ifndef LOSSD_CORE_EXEC_VISIT_ELEMENTS_H_
#define LOSSD_CORE_EXEC_VISIT_ELEMENTS_H_

#include <cstdint>
#include <cstring>

#include "core/exec/reals.h"
#include "lossd/tensor.h"

namespace lossd {

// Calls visit with a function from index to value of the dtype's own C++ type.
template <class Visit>
auto VisitElements(DType dtype, ByteSpan bytes, Visit visit) {
  const auto plain = [&]<class T>(T) {
    return visit([data = bytes.data()](int64_t i) {
      T value;
      std::memcpy(&value, data + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
      return value;
    });
  };
  switch (dtype) {
    case DType::kI8:
      return plain(int8_t{});
    case DType::kI16:
      return plain(int16_t{});
    case DType::kI32:
      return plain(int32_t{});
    case DType::kI64:
      return plain(int64_t{});
    case DType::kU8:
      return plain(uint8_t{});
    case DType::kU16:
      return plain(uint16_t{});
    case DType::kU32:
      return plain(uint32_t{});
    case DType::kU64:
      return plain(uint64_t{});
    case DType::kF32:
      return plain(float{});
    case DType::kF64:
      return plain(double{});
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  return visit([=, real = RealOf(dtype)](int64_t i) { return LoadReal(real, bytes.data(), i); });
}

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_VISIT_ELEMENTS_H_
