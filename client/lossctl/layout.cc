#include "client/lossctl/layout.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace lossd::lossctl {
namespace {

// Writes the elements of `from` to `to` in the other order.
template <size_t kSize>
void Transpose(const TensorView& from, std::byte* to) {
  // Extents with the destination's fastest first, and the source's stride of each.
  std::vector<int64_t> extents = from.desc.shape;
  std::vector<int64_t> strides(extents.size());
  const bool row_major_source = from.desc.layout == Layout::kRowMajor;
  int64_t stride = 1;
  for (size_t i = 0; i < extents.size(); ++i) {
    const size_t axis = row_major_source ? extents.size() - 1 - i : i;
    strides[axis] = stride;
    stride *= extents[axis];
  }
  if (!row_major_source) {
    std::reverse(extents.begin(), extents.end());
    std::reverse(strides.begin(), strides.end());
  }
  std::vector<int64_t> index(extents.size());
  const std::byte* const source = from.bytes.data();
  int64_t offset = 0;
  for (int64_t left = stride; left > 0; --left, to += kSize) {
    std::memcpy(to, source + offset * static_cast<int64_t>(kSize), kSize);
    for (size_t i = 0; i < extents.size(); ++i) {
      offset += strides[i];
      if (++index[i] < extents[i]) break;
      offset -= strides[i] * extents[i];
      index[i] = 0;
    }
  }
}

}  // namespace

bool SameInBothLayouts(absl::Span<const int64_t> shape) {
  return std::count(shape.begin(), shape.end(), 0) > 0 ||
         std::count_if(shape.begin(), shape.end(), [](int64_t extent) { return extent > 1; }) <= 1;
}

absl::StatusOr<npy::NpyTensor> InLayout(const npy::NpyTensor& tensor, Layout layout) {
  const TensorView& from = tensor.view();
  if (from.desc.layout == layout) return tensor;
  TensorView moved = from;
  moved.desc.layout = layout;
  if (SameInBothLayouts(from.desc.shape)) return tensor.WithView(std::move(moved));
  std::shared_ptr<std::byte[]> memory(new (std::nothrow) std::byte[from.bytes.size()]);
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory to reorder ", from.bytes.size(), " bytes"));
  }
  switch (SizeOf(from.desc.dtype)) {
    case 1:
      Transpose<1>(from, memory.get());
      break;
    case 2:
      Transpose<2>(from, memory.get());
      break;
    case 4:
      Transpose<4>(from, memory.get());
      break;
    default:
      Transpose<8>(from, memory.get());
  }
  moved.bytes = ByteSpan(memory.get(), from.bytes.size());
  return npy::NpyTensor(std::move(moved), memory);
}

}  // namespace lossd::lossctl
