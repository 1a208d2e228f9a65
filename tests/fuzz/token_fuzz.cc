// Files of tokens, and what callers bring: who may call is who a plain reading of the file names.
//   input: one byte, the length of what is brought; that; the file

#include <grpcpp/server_context.h>
#include <grpcpp/test/server_context_test_spouse.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <compare>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/security/authenticator.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/memory_file.h"

namespace lossd::fuzz {
namespace {

constexpr char kWhite[] = " \t\v\f\r";

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

struct Holder {
  std::string name;
  int64_t expires = kNever;  // seconds since 1970
  auto operator<=>(const Holder&) const = default;
};

// Seconds since 1970 of "2026-12-31T00:00:00Z"; nullopt where that is no time.
std::optional<int64_t> SecondsOf(const std::string& text) {
  constexpr char kForm[] = "dddd-dd-ddTdd:dd:ddZ";
  if (text.size() != 20) return std::nullopt;
  for (size_t i = 0; i < 20; ++i) {
    if (kForm[i] == 'd' ? !std::isdigit(static_cast<unsigned char>(text[i]))
                        : text[i] != kForm[i]) {
      return std::nullopt;
    }
  }
  const int year = std::stoi(text.substr(0, 4));
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(std::stoi(text.substr(5, 2))),
                                         std::chrono::day(std::stoi(text.substr(8, 2)))};
  const int hour = std::stoi(text.substr(11, 2));
  const int minute = std::stoi(text.substr(14, 2));
  const int second = std::stoi(text.substr(17, 2));
  if (year < 1000 || !date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return ((days * 24 + hour) * 60 + minute) * 60 + second;
}

// What follows a token on its line, read the plain way; nullopt where it cannot be read.
std::optional<Holder> ReadHolder(std::istringstream words) {
  Holder holder;
  for (std::string word; words >> word;) {
    if (word.starts_with("name=") && holder.name.empty()) {
      holder.name = word.substr(5);
      const bool good = std::all_of(holder.name.begin(), holder.name.end(), [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) ||
               (c != '\0' && std::strchr("-._:/@", c) != nullptr);
      });
      if (!good || holder.name.empty() || holder.name.size() > 64) return std::nullopt;
    } else if (word.starts_with("expires=") && holder.expires == kNever) {
      const std::optional<int64_t> seconds = SecondsOf(word.substr(8));
      if (!seconds) return std::nullopt;
      holder.expires = *seconds;
    } else {
      return std::nullopt;
    }
  }
  return holder;
}

// The tokens of a file, read the plain way; false where a line is no token.
bool ReadPlainly(const std::string& text, std::map<std::string, Holder>& tokens) {
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    line.erase(0, std::min(line.find_first_not_of(kWhite), line.size()));
    if (line.empty() || line[0] == '#') continue;
    const size_t size = std::min(line.find_first_of(kWhite), line.size());
    const std::string token = line.substr(0, size);
    if (token.size() > 4096) return false;
    for (const char c : token) {
      if (c < 0x21 || c > 0x7e) return false;
    }
    const std::optional<Holder> holder = ReadHolder(std::istringstream(line.substr(size)));
    if (!holder || tokens.try_emplace(token, *holder).first->second != *holder) return false;
  }
  return !tokens.empty();
}

// The name of who calls; nullopt: he may not.
std::optional<std::string> Caller(const Authenticator& authenticator,
                                  const std::string& authorization) {
  grpc::ServerContext context;
  grpc::testing::ServerContextTestSpouse spouse(&context);
  spouse.AddClientMetadata("authorization", authorization);
  const absl::StatusOr<std::string> caller = authenticator.Authenticate(context);
  if (caller.ok()) return *caller;
  Require(caller.status().code() == absl::StatusCode::kUnauthenticated, caller.status().ToString());
  return std::nullopt;
}

// What a token is worth at a time.
std::optional<std::string> Worth(const Holder& holder, int64_t now) {
  return holder.expires == kNever || now < holder.expires ? std::optional(holder.name)
                                                          : std::nullopt;
}

}  // namespace

void TestOne(Input input) {
  const std::string brought = input.Bytes(input.Byte());
  const std::string text = input.Rest();
  std::map<std::string, Holder> tokens;
  const bool right = ReadPlainly(text, tokens);
  const MemoryFile file(text);
  int64_t now = 0;
  const auto authenticator =
      Authenticator::FromFile(file.path(), [&] { return absl::FromUnixSeconds(now); });
  Require(authenticator.ok() == right, authenticator.status().ToString());
  if (!right) return;
  for (const auto& [token, holder] : tokens) {
    for (const int64_t time : {holder.expires - 1, holder.expires}) {
      now = time;
      Require(Caller(**authenticator, absl::StrCat("bEARER ", token)) == Worth(holder, now),
              "a token of the file");
    }
  }
  const auto named = tokens.find(brought);
  Require(Caller(**authenticator, absl::StrCat("Bearer ", brought)) ==
              (named == tokens.end() ? std::nullopt : Worth(named->second, now)),
          "somebody else may call");
  Require(!Caller(**authenticator, brought) || brought.size() > 7, "a scheme is wanted");
}

}  // namespace lossd::fuzz
