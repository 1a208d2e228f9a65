#ifndef LOSSD_WIRE_GRPC_STATUS_H_
#define LOSSD_WIRE_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace lossd::wire {

// The one conversion between the two kinds of status. Codes map one to one; messages are cut at
// 2 KiB on the way out, so that they fit into a trailer.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_GRPC_STATUS_H_
