#ifndef LOSSD_SERVER_LISTEN_PROXY_HEADER_H_
#define LOSSD_SERVER_LISTEN_PROXY_HEADER_H_

#include <sys/socket.h>

#include <cstddef>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"

namespace lossd {

// The PROXY protocol, by which a proxy says for whom it connects, in text (version 1) or binary
// (version 2): https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt
struct ProxyHeader {
  size_t size = 0;  // 0: the connection begins with something else
  std::optional<sockaddr_storage> source =
      {};  // nullopt: the proxy speaks for itself, or does not know
};

// The longest that is taken; real ones have less than 200.
inline constexpr size_t kMostProxyHeaderBytes = 2048;

// Of the first bytes of a connection. nullopt: more of them are needed. kInvalidArgument: they are
// a header, and not one that can be understood.
absl::StatusOr<std::optional<ProxyHeader>> ReadProxyHeader(std::string_view bytes);

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_PROXY_HEADER_H_
