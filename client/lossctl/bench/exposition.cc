#include "client/lossctl/bench/exposition.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/lossctl/units.h"

// Each Take...() reads something from the left of `rest`, and takes it away; false: it is not
// there.

namespace lossd::lossctl {
namespace {

constexpr size_t kShownOfALine = 60;

void SkipBlanks(absl::string_view& rest) {
  while (absl::ConsumePrefix(&rest, " ") || absl::ConsumePrefix(&rest, "\t")) {
  }
}

bool TakeName(absl::string_view& rest, std::string& name) {
  size_t size = 0;
  while (size < rest.size() &&
         (absl::ascii_isalpha(rest[size]) || rest[size] == '_' || rest[size] == ':' ||
          (size > 0 && absl::ascii_isdigit(rest[size])))) {
    ++size;
  }
  name = std::string(rest.substr(0, size));
  rest.remove_prefix(size);
  return size > 0;
}

// Between quotes; a quote, a backslash and a line feed inside have a backslash before them.
bool TakeQuoted(absl::string_view& rest, std::string& value) {
  if (!absl::ConsumePrefix(&rest, "\"")) return false;
  value.clear();
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == '"') {
      rest.remove_prefix(i + 1);
      return true;
    }
    const bool escaped = rest[i] == '\\';
    if (escaped && ++i == rest.size()) return false;
    value.push_back(escaped && rest[i] == 'n' ? '\n' : rest[i]);
  }
  return false;
}

// {NAME="VALUE",...}, or nothing.
bool TakeLabels(absl::string_view& rest, std::map<std::string, std::string>& labels) {
  if (!absl::ConsumePrefix(&rest, "{")) return true;
  for (SkipBlanks(rest); !absl::ConsumePrefix(&rest, "}"); SkipBlanks(rest)) {
    std::string name;
    std::string value;
    if (!TakeName(rest, name)) return false;
    SkipBlanks(rest);
    if (!absl::ConsumePrefix(&rest, "=")) return false;
    SkipBlanks(rest);
    if (!TakeQuoted(rest, value)) return false;
    if (!labels.emplace(std::move(name), std::move(value)).second) return false;
    SkipBlanks(rest);
    if (!absl::ConsumePrefix(&rest, ",") && rest.substr(0, 1) != "}") return false;
  }
  return true;
}

bool TakeValue(absl::string_view& rest, double& value) {
  const size_t size = std::min(rest.find_first_of(" \t"), rest.size());
  if (!absl::SimpleAtod(rest.substr(0, size), &value)) return false;
  rest.remove_prefix(size);
  return true;
}

bool IsSample(absl::string_view line, Sample& sample) {
  if (!TakeName(line, sample.name)) return false;
  SkipBlanks(line);
  if (!TakeLabels(line, sample.labels)) return false;
  SkipBlanks(line);
  if (!TakeValue(line, sample.value)) return false;
  SkipBlanks(line);
  int64_t time = 0;
  return line.empty() || absl::SimpleAtoi(line, &time);
}

}  // namespace

absl::StatusOr<std::vector<Sample>> ParseExposition(absl::string_view text) {
  std::vector<Sample> samples;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    Sample sample;
    if (!IsSample(line, sample)) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, " is '",
                                                     OneLine(line.substr(0, kShownOfALine)),
                                                     "'; wanted NAME{LABEL=\"VALUE\",...} NUMBER"));
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace lossd::lossctl
