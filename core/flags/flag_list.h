#ifndef LOSSD_CORE_FLAGS_FLAG_LIST_H_
#define LOSSD_CORE_FLAGS_FLAG_LIST_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "core/flags/flag.h"

namespace lossd {

// kInvalidArgument where no line of a file could give that value: for control characters, a quote
// at its beginning, blanks at its ends.
absl::Status CheckFitsALine(const std::string& value);

// A flag and the values it was given.
struct Given {
  std::string name;
  std::vector<std::string> values;
  std::string origin;  // for people: "--threads", "LOSSD_THREADS", "/etc/lossd.conf:3: threads"
};

// The flags of a program.
class FlagList {
 public:
  void Add(std::string group, std::vector<Flag> flags);

  const std::vector<Flag>& flags() const { return flags_; }
  const Flag* Find(std::string_view name) const;  // null: there is none

  // The name that was probably meant.
  const std::string& NearestTo(std::string_view name) const;

  // Sets the flag, which exists. kInvalidArgument: "ORIGIN: WHY". A value has to fit
  // into a line, wherever it comes from.
  absl::Status Set(const Given& given);

  // All of them as a file that ReadConfigFile reads, each with its help and its origin.
  std::string Text() const;

 private:
  std::vector<Flag> flags_;
};

}  // namespace lossd

#endif  // LOSSD_CORE_FLAGS_FLAG_LIST_H_
