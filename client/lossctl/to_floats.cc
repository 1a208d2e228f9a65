#include "client/lossctl/to_floats.h"

#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd::lossctl {
namespace {

// Every integer up to here is an f64.
constexpr uint64_t kLargest = uint64_t{1} << 53;

template <class From>
bool Fits(From value) {
  if constexpr (sizeof(From) < sizeof(int64_t)) return true;
  return value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) <= kLargest
                   : static_cast<uint64_t>(value) <= kLargest;
}

template <class From, class To>
absl::StatusOr<npy::NpyTensor> Convert(const TensorView& from, DType dtype) {
  const size_t count = from.bytes.size() / sizeof(From);
  std::shared_ptr<std::byte[]> memory(new (std::nothrow) std::byte[count * sizeof(To)]);
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", count, " integers as floats"));
  }
  for (size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from.bytes.data() + i * sizeof(From), sizeof(From));
    if (!Fits(value)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "element ", i, " is ", value, "; wanted floats, or integers of at most 2^53"));
    }
    const To converted = static_cast<To>(value);
    std::memcpy(memory.get() + i * sizeof(To), &converted, sizeof(To));
  }
  TensorView view = from;
  view.desc.dtype = dtype;
  view.bytes = ByteSpan(memory.get(), count * sizeof(To));
  return npy::NpyTensor(std::move(view), memory);
}

}  // namespace

absl::StatusOr<npy::NpyTensor> ToFloats(const npy::NpyTensor& tensor) {
  const TensorView& from = tensor.view();
  switch (from.desc.dtype) {
    case DType::kI8:
      return Convert<int8_t, float>(from, DType::kF32);
    case DType::kI16:
      return Convert<int16_t, float>(from, DType::kF32);
    case DType::kI32:
      return Convert<int32_t, double>(from, DType::kF64);
    case DType::kI64:
      return Convert<int64_t, double>(from, DType::kF64);
    case DType::kU8:
      return Convert<uint8_t, float>(from, DType::kF32);
    case DType::kU16:
      return Convert<uint16_t, float>(from, DType::kF32);
    case DType::kU32:
      return Convert<uint32_t, double>(from, DType::kF64);
    case DType::kU64:
      return Convert<uint64_t, double>(from, DType::kF64);
    case DType::kF32:
    case DType::kF64:
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  return tensor;
}

}  // namespace lossd::lossctl
