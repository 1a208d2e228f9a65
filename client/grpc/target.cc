#include "client/grpc/target.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

// The host of HOST:PORT, HOST, [IPV6]:PORT or IPV6, as gRPC cuts them.
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

// What gRPC resolves by a resolver of its own, written "scheme:..." with any number of slashes.
constexpr absl::string_view kSchemes[] = {"dns", "xds", "google-c2p"};

absl::Status Mistaken(absl::string_view target, absl::string_view mistake,
                      absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("target is '", target, "', ", mistake, "; wanted ", wanted));
}

// Checks the address of one server. gRPC would take port 443 where there is none, and look up, or
// write files, for other slips; that ends as a call that reaches no server.
absl::Status CheckHostPort(absl::string_view target, absl::string_view address) {
  const size_t bracket = address.find(']');
  const bool brackets = absl::StartsWith(address, "[") && bracket != address.npos;
  const absl::string_view rest = brackets ? address.substr(bracket + 1) : address;
  const size_t colon = rest.find(':');
  if (!brackets && colon != rest.npos && rest.find(':', colon + 1) != rest.npos) {
    return Mistaken(target, "several colons", "host:port, or for IPv6 [address]:port");
  }
  if (colon == rest.npos) {
    return Mistaken(target, "without a port", absl::StrCat(address, ":50151 (lossd's)"));
  }
  if (!brackets && colon == 0) return Mistaken(target, "without a host", "host:port");
  const absl::string_view port = rest.substr(colon + 1);
  int number = 0;
  const bool digits = !port.empty() && std::all_of(port.begin(), port.end(), absl::ascii_isdigit);
  if (!digits || !absl::SimpleAtoi(port, &number) || number < 1 || number > 65535) {
    return Mistaken(target, absl::StrCat("whose port is '", port, "'"),
                    "host:port with a port of 1..65535");
  }
  return absl::OkStatus();
}

absl::Status CheckUnixSocket(absl::string_view target) {
  absl::string_view path = target;
  if (absl::ConsumePrefix(&path, "unix-abstract:")) {
    return path.empty() ? Mistaken(target, "without a name", "unix-abstract:name")
                        : absl::OkStatus();
  }
  absl::ConsumePrefix(&path, "unix:");
  if (path.empty()) return Mistaken(target, "without a path", "unix:/path");
  if (path[0] == '@') {
    return Mistaken(
        target, absl::StrCat("which is a file named '", path, "'"),
        absl::StrCat("unix:/path, or for an abstract socket unix-abstract:", path.substr(1)));
  }
  return absl::OkStatus();
}

// Checks an entry of a list, as it is dialled.
absl::Status CheckEntry(absl::string_view entry) {
  if (IsUnixSocket(entry)) return CheckUnixSocket(entry);
  absl::string_view address = entry;
  if (absl::ConsumePrefix(&address, "ipv4:") || absl::ConsumePrefix(&address, "ipv6:")) {
    return CheckHostPort(entry, address);
  }
  for (const absl::string_view scheme : kSchemes) {
    if (!absl::StartsWith(entry, absl::StrCat(scheme, ":"))) continue;
    // "dns:name:port", "dns:///name:port", "dns://resolver/name:port". Others name no port.
    if (scheme != "dns") return absl::OkStatus();
    address = entry.substr(scheme.size() + 1);
    if (const size_t slash = address.rfind('/'); slash != address.npos) {
      address.remove_prefix(slash + 1);
    }
    return CheckHostPort(entry, address);
  }
  const size_t scheme = entry.find("://");
  if (scheme == entry.npos) return CheckHostPort(entry, entry);
  return Mistaken(entry, absl::StrCat("a URL of ", entry.substr(0, scheme)),
                  "host:port without it (with TLS, that is an option of its own), unix:/path or "
                  "dns:///name:port");
}

}  // namespace

absl::StatusOr<Endpoints> ReadTarget(absl::string_view target) {
  if (target.empty()) {
    return absl::InvalidArgumentError(
        "target is empty; wanted host:port, a list of them, unix:/path or a name");
  }
  if (IsUnixSocket(target)) {
    LOSSD_RETURN_IF_ERROR(CheckUnixSocket(target));
    return Endpoints{{std::string(target)}};
  }
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
    LOSSD_RETURN_IF_ERROR(CheckEntry(endpoints.targets.back()));
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
