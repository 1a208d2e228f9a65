#ifndef LOSSD_SERVER_LISTEN_CONNECTION_REFUSAL_H_
#define LOSSD_SERVER_LISTEN_CONNECTION_REFUSAL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lossd {

// Why this server did not let a connection in, or ended it.
enum class ConnectionRefusal : int8_t {
  kTooMany,      // as many are open as may be
  kSilent,       // nothing came in time, or the oldest of too many on which nothing came
  kPeerQuota,    // calls went on beyond all quotas
  kUnexplained,  // more came than calls explain (docs/adr/026)
  kGaveWay,      // others wanted a place, and its address had most of them
  kBadHeader,    // a trusted proxy began with a PROXY header that cannot be understood
  kHeaderBlock,  // a call's headers had more fields or bytes than they may (docs/adr/032)
};
inline constexpr size_t kConnectionRefusals = 7;

// As metrics name them, in the order of the enum.
inline constexpr std::array<std::string_view, kConnectionRefusals> kConnectionRefusalNames = {
    "TOO_MANY_CONNECTIONS", "SILENT",      "PEER_QUOTA", "UNEXPLAINED_BYTES", "GAVE_WAY",
    "BAD_PROXY_HEADER",     "HEADER_BLOCK"};

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_CONNECTION_REFUSAL_H_
