#ifndef LOSSD_SERVER_FRONT_CONNECTION_REFUSAL_H_
#define LOSSD_SERVER_FRONT_CONNECTION_REFUSAL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lossd {

// Why this server did not let a connection in, or ended it.
enum class ConnectionRefusal : int8_t {
  kTooMany,    // as many are open as may be
  kSilent,     // nothing came in time, or the oldest of too many on which nothing came
  kPeerQuota,  // calls went on beyond all quotas
};
inline constexpr size_t kConnectionRefusals = 3;

// As metrics name them, in the order of the enum.
inline constexpr std::array<std::string_view, kConnectionRefusals> kConnectionRefusalNames = {
    "TOO_MANY_CONNECTIONS", "SILENT", "PEER_QUOTA"};

}  // namespace lossd

#endif  // LOSSD_SERVER_FRONT_CONNECTION_REFUSAL_H_
