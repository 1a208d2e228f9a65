#include "core/flags/flag_list.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/flags/values.h"
#include "core/types/printable.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

absl::Status Apply(const Flag& flag, const std::vector<std::string>& values) {
  for (const std::string& value : values) LOSSD_RETURN_IF_ERROR(CheckFitsALine(value));
  return flag.set(values);
}

}  // namespace

absl::Status CheckFitsALine(const std::string& value) {
  const auto is_control = [](char c) {
    return absl::ascii_iscntrl(static_cast<unsigned char>(c)) && c != '\t';
  };
  const auto refuse = [&value](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(Printable(value), " ", why));
  };
  if (std::any_of(value.begin(), value.end(), is_control)) {
    return refuse("has control characters; wanted text");
  }
  if (value.starts_with('"') || value.starts_with('\'')) {
    return refuse("begins with a quote; wanted no quotes");
  }
  if (absl::StripAsciiWhitespace(value) != value) {
    return refuse("has blanks at its ends; wanted none there");
  }
  return absl::OkStatus();
}

void FlagList::Add(std::string group, std::vector<Flag> flags) {
  for (Flag& flag : flags) {
    flag.group = group;
    flags_.push_back(std::move(flag));
  }
}

const Flag* FlagList::Find(std::string_view name) const {
  const auto found = std::find_if(flags_.begin(), flags_.end(),
                                  [&](const Flag& flag) { return flag.name == name; });
  return found == flags_.end() ? nullptr : &*found;
}

const std::string& FlagList::NearestTo(std::string_view name) const {
  return std::min_element(flags_.begin(), flags_.end(),
                          [&](const Flag& a, const Flag& b) {
                            return EditDistance(a.name, name) < EditDistance(b.name, name);
                          })
      ->name;
}

absl::Status FlagList::Set(const Given& given) {
  for (Flag& flag : flags_) {
    if (flag.name != given.name) continue;
    flag.origin = given.origin;
    const absl::Status set = Apply(flag, given.values);
    if (set.ok()) return set;
    return absl::Status(set.code(), absl::StrCat(given.origin, ": ", set.message()));
  }
  return absl::InternalError(absl::StrCat("there is no flag ", given.name));
}

std::string FlagList::Text() const {
  std::string text;
  for (const Flag& flag : flags_) {
    absl::StrAppend(&text, "\n# ", flag.help, "\n");
    if (!flag.origin.empty()) absl::StrAppend(&text, "# given as ", flag.origin, "\n");
    const std::vector<std::string> values = flag.get();
    for (const std::string& value : values) absl::StrAppend(&text, flag.name, " = ", value, "\n");
    if (values.empty()) absl::StrAppend(&text, "# ", flag.name, " =\n");
  }
  return text;
}

}  // namespace lossd
