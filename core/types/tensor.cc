#include "lossd/tensor.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace lossd {

std::optional<int64_t> ElementCount(absl::Span<const int64_t> shape) {
  int64_t product = 1;
  bool empty = false;
  for (const int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    if (extent == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(product, extent, &product)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : product;
}

std::optional<int64_t> ByteCount(const TensorDesc& desc) {
  const std::optional<int64_t> elements = ElementCount(desc.shape);
  int64_t bytes = 0;
  if (!elements || __builtin_mul_overflow(*elements, SizeOf(desc.dtype), &bytes)) {
    return std::nullopt;
  }
  return bytes;
}

std::string ShapeString(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ","), "]");
}

void ScatteredBytes::Append(ByteSpan piece) {
  if (piece.empty()) return;
  ends_.push_back(size() + static_cast<int64_t>(piece.size()));
  pieces_.push_back(piece);
}

size_t ScatteredBytes::PieceAt(int64_t offset) const {
  return std::upper_bound(ends_.begin(), ends_.end(), offset) - ends_.begin();
}

const std::byte* ScatteredBytes::Contiguous(int64_t offset, int64_t length) const {
  const size_t i = PieceAt(offset);
  if (i == pieces_.size() || offset + length > ends_[i]) return nullptr;
  return pieces_[i].data() + (offset - (ends_[i] - static_cast<int64_t>(pieces_[i].size())));
}

void ScatteredBytes::CopyTo(int64_t offset, int64_t length, std::byte* destination) const {
  for (size_t i = PieceAt(offset); length > 0; ++i) {
    const int64_t begin = ends_[i] - static_cast<int64_t>(pieces_[i].size());
    const int64_t count = std::min(length, ends_[i] - offset);
    std::memcpy(destination, pieces_[i].data() + (offset - begin), count);
    destination += count;
    offset += count;
    length -= count;
  }
}

}  // namespace lossd
