#include "client/lossctl/bench/metrics_page.h"

#include <httplib.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

constexpr char kPath[] = "/metrics";

absl::StatusOr<MetricsAddress> ParseAddress(absl::string_view flag, absl::string_view text) {
  const auto unreadable = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " has '", text, "'; wanted host:port or [IPv6]:port"));
  };
  const size_t colon = text.rfind(':');
  if (colon == text.npos) return unreadable();
  absl::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find_first_of(":[]/ ") != host.npos) {
    return unreadable();
  }
  int port = 0;
  if (host.empty() || !absl::SimpleAtoi(text.substr(colon + 1), &port) || port < 1 ||
      port > 65535) {
    return unreadable();
  }
  return MetricsAddress{std::string(text), std::string(host), port};
}

std::string Words(httplib::Error error, absl::Duration patience) {
  switch (error) {
    case httplib::Error::Connection:
      return "nobody listens there";
    case httplib::Error::ConnectionTimeout:
    case httplib::Error::Read:
      return absl::StrCat("no HTTP answer within ", absl::FormatDuration(patience));
    case httplib::Error::Canceled:  // by the receiver
      return absl::StrCat("more than ", kMostPageBytes, " bytes, or longer than ",
                          absl::FormatDuration(patience));
    default:
      return httplib::to_string(error);
  }
}

}  // namespace

absl::StatusOr<std::vector<MetricsAddress>> ParseMetricsAddresses(absl::string_view flag,
                                                                  absl::string_view text) {
  std::vector<MetricsAddress> addresses;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    LOSSD_ASSIGN_OR_RETURN(MetricsAddress address, ParseAddress(flag, part));
    addresses.push_back(std::move(address));
  }
  return addresses;
}

absl::StatusOr<std::string> ReadMetricsPage(const MetricsAddress& address,
                                            absl::Duration patience) {
  const auto failed = [&](absl::string_view words) {
    return absl::UnavailableError(absl::StrCat("http://", address.text, kPath, ": ", words));
  };
  httplib::Client client(address.host, address.port);
  client.set_connection_timeout(absl::ToChronoMicroseconds(patience));
  client.set_read_timeout(absl::ToChronoMicroseconds(patience));
  const absl::Time end = absl::Now() + patience;
  std::string body;
  const httplib::Result result =
      client.Get(kPath, {{"Host", address.text}, {"Accept-Encoding", "identity"}},
                 [&](const char* data, size_t size) {
                   if (size > kMostPageBytes - body.size() || absl::Now() > end) return false;
                   body.append(data, size);
                   return true;
                 });
  if (!result) return failed(Words(result.error(), patience));
  if (result->status != 200) return failed(absl::StrCat("HTTP status ", result->status));
  return body;
}

}  // namespace lossd::lossctl
