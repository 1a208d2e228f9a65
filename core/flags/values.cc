#include "core/flags/values.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace lossd {
namespace {

// Of "b", or of a prefix with "", "b" (powers of 1000), "i" or "ib" (of 1024) behind it. 0: it is
// no unit.
uint64_t BytesOf(std::string_view unit) {
  if (unit == "b") return 1;
  constexpr std::string_view kPrefixes = "kmgtpe";
  const size_t prefix = kPrefixes.find(unit.front());
  if (prefix == std::string_view::npos) return 0;
  const std::string_view rest = unit.substr(1);
  uint64_t base = 0;
  if (rest.empty() || rest == "b") base = 1000;
  if (rest == "i" || rest == "ib") base = 1024;
  uint64_t bytes = base;
  for (size_t i = 0; i < prefix; ++i) bytes *= base;
  return bytes;
}

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::optional<int64_t> ParseSize(std::string_view text) {
  const auto is_letter = [](char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); };
  if (text.empty() || !absl::ascii_isdigit(static_cast<unsigned char>(text.front()))) {
    return std::nullopt;
  }
  std::string number(absl::StripTrailingAsciiWhitespace(View(text)));
  const auto letters = std::find_if_not(number.rbegin(), number.rend(), is_letter).base();
  std::string unit(letters, number.end());
  absl::AsciiStrToLower(&unit);
  number.erase(letters, number.end());
  absl::StripAsciiWhitespace(&number);
  // As C writes numbers: a 0 in front makes them octal, 0x hexadecimal.
  char* end = nullptr;
  const uint64_t count = std::strtoull(number.c_str(), &end, /*base=*/0);
  if (end != number.c_str() + number.size()) return std::nullopt;
  int64_t bytes = 0;
  if (unit.empty()) return absl::SimpleAtoi(number, &bytes) ? std::optional(bytes) : std::nullopt;
  const uint64_t factor = BytesOf(unit);
  if (factor == 0 || __builtin_mul_overflow(count, factor, &bytes)) return std::nullopt;
  return bytes;
}

std::string SizeText(int64_t bytes) {
  for (const auto& [unit, size] : {std::pair("TiB", int64_t{1} << 40),
                                   {"GiB", int64_t{1} << 30},
                                   {"MiB", int64_t{1} << 20},
                                   {"KiB", int64_t{1} << 10}}) {
    if (bytes >= size && bytes % size == 0) return std::to_string(bytes / size) + unit;
  }
  return std::to_string(bytes);
}

std::optional<absl::Duration> ParseDuration(std::string_view text) {
  absl::Duration duration;
  if (absl::ParseDuration(View(text), &duration)) return duration;
  return std::nullopt;
}

std::optional<absl::Duration> ParseDurationOrSeconds(std::string_view text) {
  double seconds = 0;
  if (absl::SimpleAtod(View(text), &seconds)) return absl::Seconds(seconds);
  return ParseDuration(text);
}

size_t EditDistance(std::string_view a, std::string_view b) {
  // From the first i characters of `a` to the first j of `b`.
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, changed}));
    }
  }
  return row.back();
}

}  // namespace lossd
