#include "client/lossctl/flags.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "core/flags/values.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

absl::Status Unreadable(absl::string_view flag, const std::string& text, const char* wanted) {
  return absl::InvalidArgumentError(absl::StrCat(flag, " is '", text, "'; wanted ", wanted));
}

// Overwrites `value` where the flag is given. An empty one, perhaps of a variable that was not set,
// is not the same as none: that would connect with less protection than was asked for.
absl::Status ReadGiven(absl::string_view flag, const FlagText& given, std::string* value) {
  if (!given) return absl::OkStatus();
  if (given->empty()) return absl::InvalidArgumentError(absl::StrCat(flag, " is empty"));
  *value = *given;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<TlsOptions>> ReadTls(const ServerFlags& flags) {
  TlsOptions tls;
  LOSSD_RETURN_IF_ERROR(ReadGiven("--tls-ca", flags.tls_ca, &tls.ca_file));
  LOSSD_RETURN_IF_ERROR(ReadGiven("--tls-cert", flags.tls_cert, &tls.certificate_file));
  LOSSD_RETURN_IF_ERROR(ReadGiven("--tls-key", flags.tls_key, &tls.key_file));
  LOSSD_RETURN_IF_ERROR(ReadGiven("--tls-server-name", flags.tls_server_name, &tls.server_name));
  if (flags.tls || flags.tls_ca || flags.tls_cert || flags.tls_key || flags.tls_server_name) {
    return tls;
  }
  return std::nullopt;
}

// The library's errors name fields of ClientOptions, as "FIELD PATH: ..." or "FIELD is given
// without FIELD; ..."; here they are flags.
std::string InFlags(absl::string_view message) {
  return absl::StrReplaceAll(message, {{"tls.ca_file ", "--tls-ca "},
                                       {"tls.certificate_file ", "--tls-cert "},
                                       {"tls.certificate_file;", "--tls-cert;"},
                                       {"tls.key_file ", "--tls-key "},
                                       {"tls.key_file;", "--tls-key;"},
                                       {"tls.server_name ", "--tls-server-name "},
                                       {"token_file ", "--token-file "},
                                       {"target is ", "--server is "},
                                       {"target has ", "--server has "}});
}

}  // namespace

absl::StatusOr<double> ParseNumber(absl::string_view flag, const std::string& text) {
  double value = 0;
  if (!absl::SimpleAtod(text, &value)) return Unreadable(flag, text, "a number");
  return value;
}

absl::StatusOr<int64_t> ParseInteger(absl::string_view flag, const std::string& text) {
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value)) return Unreadable(flag, text, "a whole number (64 bits)");
  return value;
}

absl::StatusOr<int> ParseFanOut(absl::string_view flag, const std::string& text) {
  LOSSD_ASSIGN_OR_RETURN(const int64_t parts, ParseInteger(flag, text));
  if (parts < 1 || parts > 256) return Unreadable(flag, text, "1..256");
  return static_cast<int>(parts);
}

absl::StatusOr<absl::Duration> ParseTimeout(absl::string_view flag, const std::string& text) {
  const std::optional<absl::Duration> value = ParseDuration(text);
  if (!value || *value <= absl::ZeroDuration() || *value == absl::InfiniteDuration()) {
    return Unreadable(flag, text, "a time such as 500ms, 30s or 1h30m");
  }
  return *value;
}

absl::StatusOr<std::string> Required(absl::string_view flag, const FlagText& value) {
  if (!value || value->empty())
    return absl::InvalidArgumentError(absl::StrCat(flag, " is missing"));
  return *value;
}

absl::Status ReadTimeout(const ServerFlags& flags, absl::Duration* timeout) {
  if (!flags.timeout) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(*timeout, ParseTimeout("--timeout", *flags.timeout));
  return absl::OkStatus();
}

absl::StatusOr<Client> Connect(const ServerFlags& flags, ClientOptions options) {
  if (!flags.server || flags.server->empty()) {
    return absl::InvalidArgumentError(
        "--server is missing; wanted host:port or unix:/path (or set LOSSD_SERVER)");
  }
  LOSSD_ASSIGN_OR_RETURN(options.tls, ReadTls(flags));
  LOSSD_RETURN_IF_ERROR(ReadGiven("--token-file", flags.token_file, &options.token_file));
  absl::StatusOr<Client> client = Client::Connect(*flags.server, options);
  if (client.ok()) return client;
  return absl::InvalidArgumentError(InFlags(client.status().message()));
}

}  // namespace lossd::lossctl
