#ifndef LOSSD_EXAMPLES_DIGITS_TRAINER_DIGITS_H_
#define LOSSD_EXAMPLES_DIGITS_TRAINER_DIGITS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace digits {

inline constexpr int64_t kPixels = 64;
inline constexpr int64_t kClasses = 10;

struct Images {
  std::vector<float> pixels;    // [count][kPixels], 0..1
  std::vector<uint8_t> labels;  // [count], 0..9

  int64_t count() const { return static_cast<int64_t>(labels.size()); }

  // The images at `indices`, in that order.
  Images Select(absl::Span<const int64_t> indices) const;
};

// Reads the UCI optical digits: a gzipped text file, 64 grey levels (0..16) and a label per line.
// kNotFound if it cannot be opened; kInvalidArgument names the first line that is not like that.
absl::StatusOr<Images> ReadDigits(const std::string& path);

}  // namespace digits

#endif  // LOSSD_EXAMPLES_DIGITS_TRAINER_DIGITS_H_
