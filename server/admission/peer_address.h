#ifndef LOSSD_SERVER_ADMISSION_PEER_ADDRESS_H_
#define LOSSD_SERVER_ADMISSION_PEER_ADDRESS_H_

#include <string>
#include <string_view>

namespace lossd {

// The part of a connection's name that its peer cannot change at will, and that quotas go by: of
// "ipv4:1.2.3.4:567" the IPv4 address, of "ipv6:%5B2001:db8::1%5D:567" the first 64 bits, which are
// what one host or network has, and of "unix:1000:17" the user. Anything else is an address itself.
std::string PeerAddressOf(std::string_view connection);

// The same of an address without a port, "1.2.3.4" or "2001:db8::1"; empty: it is not one.
std::string PeerAddressOfHost(std::string_view host);

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_PEER_ADDRESS_H_
