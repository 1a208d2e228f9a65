#ifndef LOSSD_CLIENT_GRPC_GRPC_TRANSPORT_H_
#define LOSSD_CLIENT_GRPC_GRPC_TRANSPORT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/transport/transport.h"
#include "lossd/client.h"

namespace lossd {

// gRPC over options.channels connections to `target`, made when they are first needed.
// kInvalidArgument, before any server is dialled: files and tokens that cannot be used, or that the
// target may not have.
absl::StatusOr<std::shared_ptr<Transport>> MakeGrpcTransport(const std::string& target,
                                                             const ClientOptions& options);

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_GRPC_TRANSPORT_H_
