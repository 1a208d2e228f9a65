#include "core/exec/labels.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/exec/visit_elements.h"
#include "core/exec/whole_numbers.h"

namespace lossd {
namespace {

// The integer dtypes stand in the kernels' order.
std::optional<int> WholeIndex(DType dtype) {
  const int index = static_cast<int>(dtype) - static_cast<int>(DType::kI8);
  static_assert(static_cast<int>(DType::kU64) - static_cast<int>(DType::kI8) ==
                static_cast<int>(kernels::Whole::kU64));
  return index >= 0 ? std::optional(index) : std::nullopt;
}

}  // namespace

Labels::Labels(DType dtype, ByteSpan bytes, int64_t classes, std::vector<int64_t> ignored)
    : dtype_(dtype), bytes_(bytes), classes_(classes), ignored_(std::move(ignored)) {
  std::sort(ignored_.begin(), ignored_.end());
}

void Labels::Read(int64_t begin, int64_t count, int32_t* out) const {
  if (const auto whole = WholeIndex(dtype_); whole && ignored_.size() <= 1) {
    kernels::Active().read_labels[*whole](bytes_.data() + begin * SizeOf(dtype_), count,
                                          static_cast<int32_t>(classes_),
                                          ignored_.empty() ? nullptr : ignored_.data(), out);
    return;
  }
  VisitElements(dtype_, bytes_, [&](auto value_at) {
    for (int64_t i = 0; i < count; ++i) {
      int64_t label = 0;
      const bool whole = ToWhole(value_at(begin + i), &label);
      const bool in_range = whole && label >= 0 && label < classes_;
      out[i] = in_range ? static_cast<int32_t>(label) : kernels::kInvalidLabel;
      if (whole && std::binary_search(ignored_.begin(), ignored_.end(), label)) {
        out[i] = kernels::kIgnoredLabel;
      }
    }
  });
}

std::string Labels::ValueString(int64_t position) const {
  return ElementString(dtype_, bytes_, position);
}

std::string ElementString(DType dtype, ByteSpan bytes, int64_t i) {
  return VisitElements(dtype, bytes, [i](auto value_at) {
    const auto value = value_at(i);
    if constexpr (sizeof(value) == 1) {
      return absl::StrCat(static_cast<int>(value));
    } else {
      return absl::StrCat(value);
    }
  });
}

}  // namespace lossd
