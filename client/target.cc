#include "client/target.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace lossd {
namespace {

// Of HOST:PORT, HOST, [IPV6]:PORT or IPV6, as gRPC cuts them.
absl::string_view HostOf(absl::string_view address) {
  if (absl::ConsumePrefix(&address, "[")) return address.substr(0, address.find(']'));
  const size_t colon = address.find(':');
  const bool one_colon = colon != address.npos && colon == address.rfind(':');
  return one_colon ? address.substr(0, colon) : address;
}

bool IsLoopback(absl::string_view address) {
  const std::string host(HostOf(address));
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    return (ntohl(v4.s_addr) >> 24) == IN_LOOPBACKNET;
  }
  in6_addr v6;
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) {
    return IN6_IS_ADDR_LOOPBACK(&v6) ||
           (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == IN_LOOPBACKNET);
  }
  return absl::EqualsIgnoreCase(host, "localhost");
}

bool IsUnixSocket(absl::string_view target) {
  return absl::StartsWith(target, "unix:") || absl::StartsWith(target, "unix-abstract:");
}

}  // namespace

absl::StatusOr<Endpoints> ReadTarget(absl::string_view target) {
  if (target.empty()) {
    return absl::InvalidArgumentError(
        "target is empty; wanted host:port, a list of them, unix:/path or a name");
  }
  if (IsUnixSocket(target)) return Endpoints{{std::string(target)}};
  absl::string_view scheme;
  for (const absl::string_view numeric : {"ipv4:", "ipv6:"}) {
    if (absl::ConsumePrefix(&target, numeric)) scheme = numeric;
  }
  Endpoints endpoints;
  for (const absl::string_view entry : absl::StrSplit(target, ',')) {
    const absl::string_view address = absl::StripAsciiWhitespace(entry);
    if (address.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("target is '", scheme, target, "'; wanted an address beside every comma"));
    }
    endpoints.targets.push_back(absl::StrCat(scheme, address));
  }
  if (endpoints.targets.size() > kMaxTargets) {
    return absl::InvalidArgumentError(absl::StrCat("target has ", endpoints.targets.size(),
                                                   " addresses; wanted at most ", kMaxTargets));
  }
  endpoints.replicas = endpoints.targets.size() > 1 || absl::StartsWith(target, "dns:");
  return endpoints;
}

bool IsLocalTarget(absl::string_view target) {
  if (IsUnixSocket(target)) return true;
  const bool numeric =
      absl::ConsumePrefix(&target, "ipv4:") || absl::ConsumePrefix(&target, "ipv6:");
  if (numeric || absl::ConsumePrefix(&target, "dns:")) absl::ConsumePrefix(&target, "///");
  if (!numeric) return IsLoopback(target);
  const std::vector<absl::string_view> addresses = absl::StrSplit(target, ',');
  return std::all_of(addresses.begin(), addresses.end(), IsLoopback);
}

}  // namespace lossd
