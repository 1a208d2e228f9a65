#include "server/config/config_file.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "core/types/printable.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

std::string_view Std(absl::string_view text) { return {text.data(), text.size()}; }

struct Line {
  absl::string_view key;
  absl::string_view value;
};

// Of a line that is neither blank nor a comment. The status says what is wrong, not where.
absl::StatusOr<Line> ParseLine(absl::string_view text) {
  const auto is_control = [](char c) {
    return absl::ascii_iscntrl(static_cast<unsigned char>(c)) && c != '\t';
  };
  if (std::any_of(text.begin(), text.end(), is_control)) {
    return absl::InvalidArgumentError("the line has control characters; wanted text");
  }
  const size_t equals = text.find('=');
  if (equals == absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("the line is ", Printable(Std(text)), "; wanted KEY = VALUE"));
  }
  const Line line = {absl::StripAsciiWhitespace(text.substr(0, equals)),
                     absl::StripAsciiWhitespace(text.substr(equals + 1))};
  if (line.value.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        Printable(Std(line.key)), " has no value; wanted one, or no line for the default"));
  }
  if (line.value.front() == '"' || line.value.front() == '\'') {
    return absl::InvalidArgumentError(absl::StrCat(
        Printable(Std(line.key)), " is ", Printable(Std(line.value)), "; wanted no quotes"));
  }
  return line;
}

// The values of a key go together. `where` is of this line.
absl::Status AddTo(std::vector<Given>& all, const Line& line, const std::string& where,
                   const FlagList& flags) {
  const std::string key(line.key);
  const Flag* const flag = flags.Find(key);
  if (flag == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("there is no setting ", Printable(key),
                                                   "; wanted perhaps ", flags.NearestTo(key)));
  }
  const auto before =
      std::find_if(all.begin(), all.end(), [&](const Given& given) { return given.name == key; });
  if (before == all.end()) {
    all.push_back({key, {std::string(line.value)}, absl::StrCat(where, ": ", key)});
    return absl::OkStatus();
  }
  if (flag->takes != Flag::Takes::kMany) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, " was given already at ", before->origin, "; wanted it once"));
  }
  before->values.emplace_back(line.value);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Given>> ReadConfigFile(const NamedFile& file, const FlagList& flags) {
  LOSSD_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(file));
  std::vector<Given> all;
  int number = 0;
  for (const absl::string_view raw : absl::StrSplit(text, '\n')) {
    const std::string where = absl::StrCat(file.path, ":", ++number);
    const absl::string_view line = absl::StripAsciiWhitespace(raw);
    if (line.empty() || line.front() == '#') continue;
    absl::StatusOr<Line> parsed = ParseLine(line);
    absl::Status added = parsed.ok() ? AddTo(all, *parsed, where, flags) : parsed.status();
    if (!added.ok()) {
      return absl::Status(added.code(), absl::StrCat(where, ": ", added.message()));
    }
  }
  return all;
}

}  // namespace lossd
