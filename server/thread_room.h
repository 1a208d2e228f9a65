#ifndef LOSSD_SERVER_THREAD_ROOM_H_
#define LOSSD_SERVER_THREAD_ROOM_H_

#include "absl/status/status.h"

namespace lossd {

// What a server may start beside the threads that compute: its own, and those of gRPC, which starts
// some later.
inline constexpr int kThreadsBesideComputing = 24;

// Whether that many threads can be started, found out by starting them: gRPC and oneTBB fail
// without a thread they want. kResourceExhausted says how many can.
absl::Status CheckThreadRoom(int threads);

}  // namespace lossd

#endif  // LOSSD_SERVER_THREAD_ROOM_H_
