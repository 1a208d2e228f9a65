#ifndef LOSSD_SERVER_CALLS_ENTRY_H_
#define LOSSD_SERVER_CALLS_ENTRY_H_

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/statusor.h"
#include "server/admission/call_caps.h"
#include "server/admission/instant.h"
#include "server/security/authenticator.h"

namespace lossd {

// The one way in, for calls of every method. The call is counted before anything else is looked
// at, so that a flood without a token meets the same quotas as any other; only then the caller is
// authenticated (by `authenticator`; null: the method is open to all), and from then on what it may
// have is its own, not its address's. `pass` stays with the call until it is gone, refused or not:
// what a caller does not read is held, too. Returns the caller's name, as Authenticator does.
// Errors: those of CallCaps::Begin, of Pass::Identify and of Authenticator::Authenticate.
absl::StatusOr<std::string> Enter(CallCaps& caps, const Authenticator* authenticator,
                                  const grpc::ServerContext& context, Instant now,
                                  CallCaps::Pass& pass);

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_ENTRY_H_
