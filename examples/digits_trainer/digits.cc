#include "examples/digits_trainer/digits.h"

#include <zlib.h>

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace digits {
namespace {

constexpr int kGreyLevels = 16;

// Appends the image of one line; false if the line is not 65 whole numbers in range.
bool AppendLine(absl::string_view line, Images& images) {
  const std::vector<absl::string_view> fields = absl::StrSplit(line, ',');
  if (fields.size() != kPixels + 1) return false;
  for (int64_t i = 0; i <= kPixels; ++i) {
    int value;
    if (!absl::SimpleAtoi(fields[i], &value) || value < 0) return false;
    if (value > (i < kPixels ? kGreyLevels : kClasses - 1)) return false;
    if (i < kPixels) {
      images.pixels.push_back(static_cast<float>(value) / kGreyLevels);
    } else {
      images.labels.push_back(static_cast<uint8_t>(value));
    }
  }
  return true;
}

}  // namespace

Images Images::Select(absl::Span<const int64_t> indices) const {
  Images selected;
  selected.pixels.reserve(indices.size() * kPixels);
  selected.labels.reserve(indices.size());
  for (const int64_t index : indices) {
    const auto first = pixels.begin() + index * kPixels;
    selected.pixels.insert(selected.pixels.end(), first, first + kPixels);
    selected.labels.push_back(labels[index]);
  }
  return selected;
}

absl::StatusOr<Images> ReadDigits(const std::string& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), &gzclose);
  if (!file) return absl::NotFoundError(absl::StrFormat("cannot open %s", path));
  Images images;
  char line[512];
  while (gzgets(file.get(), line, sizeof line)) {
    if (!AppendLine(absl::StripSuffix(line, "\n"), images)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s, line %d: wanted %d grey levels in 0..%d and a digit", path,
                          images.count() + 1, kPixels, kGreyLevels));
    }
  }
  return images;
}

}  // namespace digits
