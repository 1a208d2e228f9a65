#ifndef LOSSD_CLIENT_GRPC_GRPC_CREDENTIALS_H_
#define LOSSD_CLIENT_GRPC_GRPC_CREDENTIALS_H_

#include <grpcpp/security/credentials.h>

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "lossd/client.h"

namespace lossd {

// The credentials of a client's channels; without `tls`, unencrypted. kInvalidArgument names the
// option, the file and what is wrong with it.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const std::optional<TlsOptions>& tls);

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_GRPC_CREDENTIALS_H_
