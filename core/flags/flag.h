#ifndef LOSSD_CORE_FLAGS_FLAG_H_
#define LOSSD_CORE_FLAGS_FLAG_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace lossd {

// One setting of a program, wherever it is given: how it is read from text, and written as text
// that reads the same.
struct Flag {
  enum class Takes : int8_t { kSwitch, kOne, kMany };

  std::string name;  // "max-streams": --max-streams=7, LOSSD_MAX_STREAMS=7, "max-streams = 7"
  std::string type;  // of a value, for people: "SIZE"
  std::string help;
  Takes takes = Takes::kOne;
  // One value, of kMany at least one. kInvalidArgument: "7x is no number; wanted 0..1024".
  std::function<absl::Status(const std::vector<std::string>& values)> set;
  std::function<std::vector<std::string>()> get;  // empty: left open
  std::string group = {};                         // of flags, in --help
  std::string origin = {};                        // of its value; empty: not given
};

// Kinds of flags. Each reads and writes `value`, which outlives it.
Flag FileFlag(std::string name, std::string& path, std::string help);
// Any text; `type` says what it is.
Flag TextFlag(std::string name, std::string& value, std::string type, std::string help);
Flag TextFlag(std::string name, std::optional<std::string>& value, std::string type,
              std::string help);
// A text that `check` accepts.
using TextCheck = absl::Status (*)(const std::string& text);
Flag CheckedTextFlag(std::string name, std::string& value, std::string type, std::string help,
                     TextCheck check);
Flag CheckedTextsFlag(std::string name, std::vector<std::string>& values, std::string type,
                      std::string help, TextCheck check);
Flag SwitchFlag(std::string name, bool& value, std::string help);

template <class T>
struct NumberRange {
  T least;
  T most;
};
Flag NumberFlag(std::string name, int& value, NumberRange<int> range, std::string help);
Flag NumberFlag(std::string name, int64_t& value, NumberRange<int64_t> range, std::string help);

// Bytes, or with a unit: 512MiB. A value outside the range, which nothing can set, is left open.
struct SizeRange {
  int64_t least;
  int64_t most;
};
Flag SizeFlag(std::string name, int64_t& value, const SizeRange& range, std::string help);

// A number of seconds, or with units: 90, 1m30s, 250ms.
struct DurationRange {
  absl::Duration least;
  absl::Duration most;
  bool or_never = false;  // 0 stands for absl::InfiniteDuration()
};
Flag DurationFlag(std::string name, absl::Duration& value, const DurationRange& range,
                  std::string help);
Flag DurationFlag(std::string name, std::chrono::nanoseconds& value, const DurationRange& range,
                  std::string help);

// One of some words; `set` and `get` count them from 0.
Flag WordFlag(std::string name, std::vector<std::string> words, std::function<void(size_t)> set,
              std::function<size_t()> get, std::string help);

// The words of an enum whose values are 0, 1, ...
template <class Enum>
Flag EnumFlag(std::string name, Enum& value, std::vector<std::string> words, std::string help) {
  return WordFlag(
      std::move(name), std::move(words), [&value](size_t i) { value = static_cast<Enum>(i); },
      [&value] { return static_cast<size_t>(value); }, std::move(help));
}

}  // namespace lossd

#endif  // LOSSD_CORE_FLAGS_FLAG_H_
