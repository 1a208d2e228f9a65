#include "server/admission/peer_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lossd {
namespace {

constexpr std::string_view kIpv4 = "ipv4:";
constexpr std::string_view kIpv6 = "ipv6:%5B";
constexpr std::string_view kIpv6End = "%5D";

// Of one that is written as a C string.
std::string OfHost(const char* host) {
  in_addr v4;
  if (inet_pton(AF_INET, host, &v4) == 1) return absl::StrCat("ipv4:", host);
  in6_addr v6;
  if (inet_pton(AF_INET6, host, &v6) != 1) return "";
  char text[INET6_ADDRSTRLEN] = "";
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    inet_ntop(AF_INET, &v6.s6_addr[12], text, sizeof(text));
    return absl::StrCat("ipv4:", text);
  }
  std::fill(v6.s6_addr + 8, v6.s6_addr + 16, 0);
  inet_ntop(AF_INET6, &v6, text, sizeof(text));
  return absl::StrCat("ipv6:", text, "/64");
}

}  // namespace

std::string PeerAddressOfHost(std::string_view host) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (host.size() >= text.size()) return "";
  std::copy(host.begin(), host.end(), text.begin());
  return OfHost(text.data());
}

std::string PeerAddressOf(std::string_view connection) {
  const std::string_view address = connection.substr(0, connection.rfind(':'));
  std::string_view host;
  if (address.starts_with(kIpv4)) {
    host = address.substr(kIpv4.size());
  } else if (address.starts_with(kIpv6) && address.ends_with(kIpv6End)) {
    host = address.substr(kIpv6.size(), address.size() - kIpv6.size() - kIpv6End.size());
    host = host.substr(0, host.find('%'));  // without the zone of a link-local address
  }
  const std::string found = PeerAddressOfHost(host);
  return found.empty() ? std::string(address) : found;
}

}  // namespace lossd
