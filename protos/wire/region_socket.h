#ifndef LOSSD_WIRE_REGION_SOCKET_H_
#define LOSSD_WIRE_REGION_SOCKET_H_

#include <cstdint>
#include <string_view>

// How a client shares memory with a server: over a Unix stream socket of the server's, one
// connection for each region, which lives as long as its connection. (docs/adr/036)
//
//   client: kShareRequest, with one descriptor (SCM_RIGHTS): memory whose size is sealed
//   server: an answer; its body is the token, or says why not
//   client: kAskWhenQuiet, as often as it likes
//   server: an answer without a body, once no call uses the region

namespace lossd::wire {

inline constexpr std::string_view kShareRequest = "lossdSM1";
inline constexpr char kAskWhenQuiet = 'q';

// Stands before the body of every answer. Both programs run on one machine: numbers are its own.
struct RegionAnswer {
  uint32_t code;   // an absl::StatusCode
  uint32_t bytes;  // of the body; at most kMaxRegionAnswer
};
inline constexpr uint32_t kMaxRegionAnswer = 512;

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_REGION_SOCKET_H_
