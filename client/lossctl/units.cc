#include "client/lossctl/units.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"

namespace lossd::lossctl {
namespace {

std::string Scaled(double value, double base, absl::Span<const char* const> units) {
  size_t unit = 0;
  // 999.5 would be printed as 1000 (or 1e+03) of the smaller unit.
  while (unit + 1 < units.size() && std::abs(value) >= base - 0.5) {
    value /= base;
    ++unit;
  }
  const int decimals = value >= 99.95 || unit == 0 ? 0 : value >= 9.995 ? 1 : 2;
  return absl::StrFormat("%.*f%s%s", decimals, value, *units[unit] == '\0' ? "" : " ", units[unit]);
}

}  // namespace

std::string HumanBytes(double bytes) {
  return Scaled(bytes, 1024, {"bytes", "KiB", "MiB", "GiB", "TiB"});
}

std::string HumanCount(double count) {
  return Scaled(count, 1000, {"", "thousand", "million", "billion"});
}

std::string HumanTime(absl::Duration time) {
  if (time >= absl::Minutes(10)) return absl::FormatDuration(absl::Trunc(time, absl::Seconds(1)));
  if (time >= absl::Seconds(1)) return absl::StrFormat("%.3g s", absl::ToDoubleSeconds(time));
  return Scaled(absl::ToDoubleNanoseconds(time), 1000, {"ns", "us", "ms", "s"});
}

std::string ShortestNumber(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char text[32];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value);
  return std::string(text, end.ptr);
}

std::string OneLine(absl::string_view text) {
  std::string line(text);
  std::replace_if(line.begin(), line.end(), absl::ascii_iscntrl, ' ');
  return line;
}

}  // namespace lossd::lossctl
