#ifndef LOSSD_CLIENT_GRPC_GRPC_CREDENTIALS_H_
#define LOSSD_CLIENT_GRPC_GRPC_CREDENTIALS_H_

#include <grpcpp/security/credentials.h>

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "lossd/client.h"

namespace lossd {

// What channels of a client are made with; without `tls`, in the clear. kInvalidArgument names the
// option, the file and what is wrong with it.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const std::optional<TlsOptions>& tls);

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_GRPC_CREDENTIALS_H_
