#ifndef LOSSD_SERVER_ADMISSION_TRUSTED_PROXIES_H_
#define LOSSD_SERVER_ADMISSION_TRUSTED_PROXIES_H_

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace lossd {

// The addresses whose word about the address of a client is believed.
class TrustedProxies {
 public:
  TrustedProxies() = default;  // trusts no proxy

  // Parses ranges such as 10.0.0.0/8, 2001:db8::/32 or 10.1.2.3, separated by commas; "unix" trusts
  // all that connects to a Unix socket. kInvalidArgument names what is none of these.
  static absl::StatusOr<TrustedProxies> Parse(std::string_view text);

  bool empty() const { return ranges_.empty() && !unix_; }

  // Whether a connection from this address is trusted.
  bool Trusts(const sockaddr_storage& address) const;

  // The same by the name of a connection, as grpc::ServerContext::peer() gives it.
  bool TrustsConnection(std::string_view name) const;

  // The client behind a connection from a trusted proxy: of "client, proxy, proxy", the addresses
  // of x-forwarded-for, the last that is not trusted itself, as PeerAddressOf gives it. Empty: the
  // connection does not come from a trusted proxy, or the header cannot be understood.
  std::string ForwardedAddress(std::string_view connection, std::string_view forwarded_for) const;

 private:
  using Bytes = std::array<uint8_t, 16>;  // an IPv6 address, or an IPv4 address mapped to one
  struct Range {
    Bytes address;
    int bits;
  };

  bool Trusts(const Bytes& address) const;

  std::vector<Range> ranges_;
  bool unix_ = false;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_TRUSTED_PROXIES_H_
