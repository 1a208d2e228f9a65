#include "core/files/token_file.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

constexpr size_t kMaxTokenBytes = 4096;
constexpr size_t kMaxNameBytes = 64;
constexpr char kBlanks[] = " \t\v\f\r";
constexpr char kTimeForm[] = "%Y-%m-%dT%H:%M:%SZ";

bool IsName(absl::string_view text) {
  constexpr absl::string_view kMarks = "-._:/@";
  return !text.empty() && text.size() <= kMaxNameBytes &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  kMarks.find(c) != absl::string_view::npos;
         });
}

// Only the one way to write a time: ParseTime would also take years of other lengths, leap seconds
// and "infinite-future".
bool ReadTime(absl::string_view text, absl::Time& time) {
  return absl::ParseTime(kTimeForm, text, &time, nullptr) && text.size() == 20 &&
         absl::FormatTime(kTimeForm, time, absl::UTCTimeZone()) == text;
}

// What is wrong with a line that is neither blank nor a comment; empty: nothing, and `token` is
// what it says. Whatever is not understood may be a part of a token, so it is not repeated.
absl::string_view FaultOfLine(absl::string_view line, Token& token) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(line, absl::ByAnyChar(kBlanks), absl::SkipEmpty());
  if (const absl::string_view fault = FaultOfToken(words.front()); !fault.empty()) return fault;
  token.text = std::string(words.front());
  bool expires = false;
  for (size_t i = 1; i < words.size(); ++i) {
    absl::string_view word = words[i];
    if (absl::ConsumePrefix(&word, "name=")) {
      if (!token.name.empty()) return "has two names";
      if (!IsName(word)) return "has a name that is not 1 to 64 letters, digits and - . _ : / @";
      token.name = std::string(word);
    } else if (absl::ConsumePrefix(&word, "expires=")) {
      if (std::exchange(expires, true)) return "has two times";
      if (!ReadTime(word, token.expires)) {
        return "expires at something that is not a time such as 2026-12-31T00:00:00Z";
      }
    } else {
      return "has a blank and then neither name=NAME nor expires=TIME";
    }
  }
  return "";
}

}  // namespace

absl::string_view FaultOfToken(absl::string_view token) {
  if (token.empty()) return "has no character";
  if (token.size() > kMaxTokenBytes) return "has more than 4096 characters";
  const auto visible = [](char c) { return c > ' ' && c < 0x7f; };
  if (std::all_of(token.begin(), token.end(), visible)) return "";
  return "has a blank or a character that is not visible ASCII";
}

absl::StatusOr<std::vector<Token>> ReadTokens(const NamedFile& file) {
  LOSSD_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(file));
  std::vector<Token> tokens;
  std::map<std::string, std::pair<int, size_t>> seen;  // line and place among the tokens
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    Token token;
    if (const absl::string_view fault = FaultOfLine(line, token); !fault.empty()) {
      return CannotUse(file, absl::StrCat("line ", number, " ", fault,
                                          "; wanted TOKEN [name=NAME] [expires=TIME]"));
    }
    const auto [first, fresh] = seen.try_emplace(token.text, number, tokens.size());
    if (fresh) {
      tokens.push_back(std::move(token));
    } else if (tokens[first->second.second] != token) {
      return CannotUse(file,
                       absl::StrCat("line ", number, " has the token of line ", first->second.first,
                                    " with another name or time; wanted each token once"));
    }
  }
  return tokens;
}

}  // namespace lossd
