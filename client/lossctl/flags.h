#ifndef LOSSD_LOSSCTL_FLAGS_H_
#define LOSSD_LOSSCTL_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/lossctl/suggestion.h"
#include "core/flags/flag.h"
#include "lossd/client.h"

// Flags arrive as text and are read here, so that every message has one form: the flag's name, what
// came, what was wanted. All errors are kInvalidArgument.

namespace lossd::lossctl {

// The text of a flag; nullopt: not given.
using FlagText = std::optional<std::string>;

// One flag of Flags that takes a value.
template <class Flags>
struct FlagRow {
  FlagText Flags::*text;
  const char* name;   // "--loss"
  const char* group;  // heading in the help
  const char* value;  // "F.npy"
  const char* help;
};

// The flags of a table, which set the texts of `flags`; that outlives them.
template <class Flags>
std::vector<Flag> FlagsOf(absl::Span<const FlagRow<Flags>> table, Flags& flags) {
  std::vector<Flag> all;
  for (const FlagRow<Flags>& row : table) {
    Flag& flag = all.emplace_back(TextFlag(std::string(absl::StripPrefix(row.name, "--")),
                                           flags.*row.text, row.value, row.help));
    flag.group = row.group;
  }
  return all;
}

absl::StatusOr<double> ParseNumber(absl::string_view flag, const std::string& text);
absl::StatusOr<int64_t> ParseInteger(absl::string_view flag, const std::string& text);

// The number of streams of CallOptions::fan_out.
absl::StatusOr<int> ParseFanOut(absl::string_view flag, const std::string& text);

// "30s", "1m30s", "500ms": more than 0.
absl::StatusOr<absl::Duration> ParseTimeout(absl::string_view flag, const std::string& text);

// The value of a flag that must be given.
absl::StatusOr<std::string> Required(absl::string_view flag, const FlagText& value);

template <class T>
struct Choice {
  const char* name;
  T value;
};

template <class T>
absl::StatusOr<T> ParseChoice(absl::string_view flag, const std::string& text,
                              absl::Span<const Choice<T>> choices) {
  std::vector<absl::string_view> names;
  for (const Choice<T>& choice : choices) {
    if (text == choice.name) return choice.value;
    names.push_back(choice.name);
  }
  return absl::InvalidArgumentError(absl::StrCat(flag, " is '", text, "'; wanted one of ",
                                                 absl::StrJoin(names, ", "),
                                                 MeantValue(flag, text, names)));
}

// What every command needs to reach a server.
struct ServerFlags {
  FlagText server;
  FlagText timeout;
  bool tls = false;  // implied by the other tls_ flags
  FlagText tls_ca;
  FlagText tls_cert;
  FlagText tls_key;
  FlagText tls_server_name;
  FlagText token_file;
};

// Overwrites `timeout` only where the flag is given.
absl::Status ReadTimeout(const ServerFlags& flags, absl::Duration* timeout);
// `options` and what the flags say of TLS and tokens.
absl::StatusOr<Client> Connect(const ServerFlags& flags, ClientOptions options = {});

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_FLAGS_H_
