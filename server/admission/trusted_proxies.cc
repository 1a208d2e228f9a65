#include "server/admission/trusted_proxies.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "lossd/status_macros.h"
#include "server/admission/peer_address.h"

namespace lossd {
namespace {

using Bytes = std::array<uint8_t, 16>;

constexpr int kMappedBits = 96;
constexpr Bytes kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

std::optional<Bytes> BytesOf(absl::string_view host, bool* v4 = nullptr) {
  const std::string text(host);
  Bytes bytes = kMapped;
  const bool is_v4 = inet_pton(AF_INET, text.c_str(), &bytes[12]) == 1;
  if (v4 != nullptr) *v4 = is_v4;
  if (is_v4 || inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
  return std::nullopt;
}

// Of an address as proxies write it: with or without a port, IPv6 in brackets then.
absl::string_view HostOf(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  if (absl::StartsWith(text, "[")) return text.substr(1, text.find(']') - 1);
  return std::count(text.begin(), text.end(), ':') == 1 ? text.substr(0, text.find(':')) : text;
}

}  // namespace

absl::StatusOr<TrustedProxies> TrustedProxies::Parse(std::string_view text) {
  TrustedProxies proxies;
  for (const absl::string_view one : absl::StrSplit(View(text), ',', absl::SkipWhitespace())) {
    const absl::string_view range = absl::StripAsciiWhitespace(one);
    if (range == "unix") {
      proxies.unix_ = true;
      continue;
    }
    const size_t slash = range.find('/');
    bool v4 = false;
    const std::optional<Bytes> address = BytesOf(range.substr(0, slash), &v4);
    const int most = v4 ? 32 : 128;
    int bits = most;
    const bool has_bits = slash != absl::string_view::npos;
    if (!address || (has_bits && (!absl::SimpleAtoi(range.substr(slash + 1), &bits) || bits < 0 ||
                                  bits > most))) {
      return absl::InvalidArgumentError(
          absl::StrCat("trusted_proxies has \"", range,
                       "\"; wanted addresses or ranges such as 10.0.0.0/8 or 2001:db8::/32, or "
                       "unix, separated by commas"));
    }
    proxies.ranges_.push_back({*address, v4 ? kMappedBits + bits : bits});
  }
  return proxies;
}

bool TrustedProxies::Trusts(const Bytes& address) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) {
    for (int i = 0; i < 16; ++i) {
      const int bits = std::clamp(range.bits - 8 * i, 0, 8);
      const int mask = 0xff00 >> bits & 0xff;
      if (((address[i] ^ range.address[i]) & mask) != 0) return false;
    }
    return true;
  });
}

bool TrustedProxies::Trusts(const sockaddr_storage& address) const {
  if (address.ss_family == AF_UNIX) return unix_;
  Bytes bytes = kMapped;
  if (address.ss_family == AF_INET) {
    std::memcpy(&bytes[12], &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
  } else if (address.ss_family == AF_INET6) {
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16);
  } else {
    return false;
  }
  return Trusts(bytes);
}

bool TrustedProxies::TrustsConnection(std::string_view name) const {
  const absl::string_view connection = View(name);
  if (absl::StartsWith(connection, "unix:")) return unix_;
  absl::string_view host = connection.substr(0, connection.rfind(':'));
  if (!absl::ConsumePrefix(&host, "ipv4:") &&
      !(absl::ConsumePrefix(&host, "ipv6:%5B") && absl::ConsumeSuffix(&host, "%5D"))) {
    return false;
  }
  const std::optional<Bytes> address = BytesOf(host);
  return address && Trusts(*address);
}

std::string TrustedProxies::ForwardedAddress(std::string_view connection,
                                             std::string_view forwarded_for) const {
  if (empty() || !TrustsConnection(connection)) return "";
  const std::vector<absl::string_view> hops = absl::StrSplit(View(forwarded_for), ',');
  std::string found;
  for (auto hop = hops.rbegin(); hop != hops.rend(); ++hop) {
    const absl::string_view host = HostOf(*hop);
    const std::optional<Bytes> address = BytesOf(host);
    if (!address) break;
    found = PeerAddressOfHost({host.data(), host.size()});
    if (!Trusts(*address)) break;
  }
  return found;
}

}  // namespace lossd
