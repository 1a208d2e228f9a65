#ifndef LOSSD_CORE_FLAGS_VALUES_H_
#define LOSSD_CORE_FLAGS_VALUES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

// Values of flags as text, and back.

namespace lossd {

// A number of bytes, or with a unit: "512MiB", "64 kB" (1000 bytes), in capitals or not. nullopt:
// it is none, or more than 64 bits hold.
std::optional<int64_t> ParseSize(std::string_view text);

// "64MiB", "1000".
std::string SizeText(int64_t bytes);

// "250ms", "1m30s"; "inf" is absl::InfiniteDuration(). nullopt: it is none.
std::optional<absl::Duration> ParseDuration(std::string_view text);
// The same, or a number of seconds: "90".
std::optional<absl::Duration> ParseDurationOrSeconds(std::string_view text);

// How many characters are to be put in, taken out or changed to make one of the other
// (Levenshtein).
size_t EditDistance(std::string_view a, std::string_view b);

}  // namespace lossd

#endif  // LOSSD_CORE_FLAGS_VALUES_H_
