#ifndef LOSSD_SERVER_ADMISSION_REFUSAL_H_
#define LOSSD_SERVER_ADMISSION_REFUSAL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace lossd {

// Why this server turned a call away or ended it: a closed set, which clients may act on.
enum class Refusal : int8_t {
  kTooLarge,           // above a limit of this server, whenever it comes
  kQueueFull,          // memory is short, and so is the queue for it
  kQueueTimeout,       // memory was short for as long as a call may wait for it
  kOverBudget,         // a call under way needs more memory than is left
  kWouldMissDeadline,  // waiting for memory would have used up the caller's time
  kPeerQuota,          // this peer or connection has too many calls, or begins them too fast
  kTooManyCalls,       // all peers together have too many
  kDraining,           // the server is about to stop
  kOutOfMemory,
  kStalled,        // the peer sent or took too little for too long
  kTimeLimit,      // longer than this server lets any call take
  kUnknownRegion,  // shared memory that is not, or not any more
};
inline constexpr int kRefusals = 12;

// The word in the trailer "loss-reason".
std::string_view TokenOf(Refusal why);

// A status that carries the reason. The one place that knows the code of each.
absl::Status Refuse(Refusal why, std::string_view message);

// The reason carried, or, for what the core refuses without one: kResourceExhausted is kTooLarge,
// kUnavailable is kOutOfMemory. nullopt: the server turned nothing away.
std::optional<Refusal> RefusalOf(const absl::Status& status);

// "loss-reason" and, where a later call may fare better, "grpc-retry-pushback-ms".
std::vector<std::pair<std::string, std::string>> TrailersOf(const absl::Status& status);

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_REFUSAL_H_
