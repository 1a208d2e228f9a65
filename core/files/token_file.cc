#include "core/files/token_file.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

constexpr size_t kMaxTokenBytes = 4096;

}  // namespace

absl::string_view FaultOfToken(absl::string_view token) {
  if (token.empty()) return "has no character";
  if (token.size() > kMaxTokenBytes) return "has more than 4096 characters";
  const auto visible = [](char c) { return c > ' ' && c < 0x7f; };
  if (std::all_of(token.begin(), token.end(), visible)) return "";
  return "has a blank or a character that is not visible ASCII";
}

absl::StatusOr<std::vector<std::string>> ReadTokens(const NamedFile& file) {
  LOSSD_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(file));
  std::vector<std::string> tokens;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::string_view token = absl::StripAsciiWhitespace(line);
    if (token.empty() || token.front() == '#') continue;
    if (const absl::string_view fault = FaultOfToken(token); !fault.empty()) {
      return CannotUse(file,
                       absl::StrCat("line ", number, " ", fault, "; wanted one token a line"));
    }
    tokens.emplace_back(token);
  }
  if (tokens.empty()) return CannotUse(file, "has no token");
  return tokens;
}

}  // namespace lossd
