#include "client/lossctl/flags.h"

#include "absl/strings/numbers.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

absl::Status Unreadable(absl::string_view flag, const std::string& text, const char* wanted) {
  return absl::InvalidArgumentError(absl::StrCat(flag, " is '", text, "'; wanted ", wanted));
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

absl::StatusOr<absl::Duration> ParseTimeout(absl::string_view flag, const std::string& text) {
  absl::Duration value;
  if (!absl::ParseDuration(text, &value) || value <= absl::ZeroDuration() ||
      value == absl::InfiniteDuration()) {
    return Unreadable(flag, text, "a time such as 500ms, 30s or 1h30m");
  }
  return value;
}

absl::StatusOr<std::string> Required(absl::string_view flag, const Flag& value) {
  if (!value || value->empty())
    return absl::InvalidArgumentError(absl::StrCat(flag, " is missing"));
  return *value;
}

absl::Status ReadTimeout(const ServerFlags& flags, absl::Duration* timeout) {
  if (!flags.timeout) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(*timeout, ParseTimeout("--timeout", *flags.timeout));
  return absl::OkStatus();
}

absl::StatusOr<Client> Connect(const ServerFlags& flags, const ClientOptions& options) {
  if (!flags.server || flags.server->empty()) {
    return absl::InvalidArgumentError(
        "--server is missing; wanted host:port or unix:/path (or set LOSSD_SERVER)");
  }
  absl::StatusOr<Client> client = Client::Connect(*flags.server, options);
  if (client.ok()) return client;
  return absl::InvalidArgumentError(
      absl::StrCat("--server is '", *flags.server, "': ", client.status().message()));
}

}  // namespace lossd::lossctl
