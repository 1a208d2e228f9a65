#ifndef LOSSD_TENSOR_H_
#define LOSSD_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "lossd/dtype.h"

namespace lossd {

using ByteSpan = absl::Span<const std::byte>;
using MutableByteSpan = absl::Span<std::byte>;

// Order of the elements in memory. Values are those of lossd.v1.Layout.
enum class Layout : int8_t {
  kRowMajor = 1,     // the last extent varies fastest: NumPy, PyTorch
  kColumnMajor = 2,  // the first extent varies fastest: Julia, MATLAB
};

// What a tensor claims to be. Nothing in it has been checked.
struct TensorDesc {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  Layout layout = Layout::kRowMajor;

  friend bool operator==(const TensorDesc&, const TensorDesc&) = default;
};

// Product of the extents; nullopt where an extent is negative or the product overflows. Zero
// extents do not hide an overflow among the others.
std::optional<int64_t> ElementCount(absl::Span<const int64_t> shape);

// ElementCount * SizeOf, likewise checked.
std::optional<int64_t> ByteCount(const TensorDesc& desc);

// "[8,21,512]"
std::string ShapeString(absl::Span<const int64_t> shape);

// A tensor in contiguous memory that somebody else owns; no alignment is asked for.
struct TensorView {
  TensorDesc desc;
  ByteSpan bytes;

  // A view of typed memory: TensorView::Of<float>(logits, {batch, classes}).
  template <class T>
  static TensorView Of(absl::Span<const T> values, std::vector<int64_t> shape,
                       Layout layout = Layout::kRowMajor);
};

template <class T>
constexpr DType DTypeOf();
template <>
constexpr DType DTypeOf<float>() {
  return DType::kF32;
}
template <>
constexpr DType DTypeOf<double>() {
  return DType::kF64;
}
template <>
constexpr DType DTypeOf<int8_t>() {
  return DType::kI8;
}
template <>
constexpr DType DTypeOf<int16_t>() {
  return DType::kI16;
}
template <>
constexpr DType DTypeOf<int32_t>() {
  return DType::kI32;
}
template <>
constexpr DType DTypeOf<int64_t>() {
  return DType::kI64;
}
template <>
constexpr DType DTypeOf<uint8_t>() {
  return DType::kU8;
}
template <>
constexpr DType DTypeOf<uint16_t>() {
  return DType::kU16;
}
template <>
constexpr DType DTypeOf<uint32_t>() {
  return DType::kU32;
}
template <>
constexpr DType DTypeOf<uint64_t>() {
  return DType::kU64;
}

template <class T>
TensorView TensorView::Of(absl::Span<const T> values, std::vector<int64_t> shape, Layout layout) {
  return {{DTypeOf<T>(), std::move(shape), layout},
          ByteSpan(reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T))};
}

// The bytes of any trivially copyable values, for use as an output buffer.
template <class T>
MutableByteSpan BytesOf(absl::Span<T> values) {
  return {reinterpret_cast<std::byte*>(values.data()), values.size() * sizeof(T)};
}

// Bytes that lie in several pieces, as a message arrives from a network. Owns nothing.
class ScatteredBytes {
 public:
  ScatteredBytes() = default;
  explicit ScatteredBytes(ByteSpan whole) { Append(whole); }

  // Empty pieces are dropped.
  void Append(ByteSpan piece);

  int64_t size() const { return ends_.empty() ? 0 : ends_.back(); }
  absl::Span<const ByteSpan> pieces() const { return pieces_; }

  // Start of bytes [offset, offset + length) if they lie in one piece, else nullptr.
  // Precondition of both: 0 <= offset, 0 <= length, offset + length <= size().
  const std::byte* Contiguous(int64_t offset, int64_t length) const;
  void CopyTo(int64_t offset, int64_t length, std::byte* destination) const;

 private:
  size_t PieceAt(int64_t offset) const;  // index of the piece that holds byte `offset`

  absl::InlinedVector<ByteSpan, 1> pieces_;
  absl::InlinedVector<int64_t, 1> ends_;  // ends_[i] = bytes in pieces 0..i
};

}  // namespace lossd

#endif  // LOSSD_TENSOR_H_
