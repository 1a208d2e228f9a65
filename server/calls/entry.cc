#include "server/calls/entry.h"

#include <utility>

#include "lossd/status_macros.h"

namespace lossd {

absl::StatusOr<std::string> Enter(CallCaps& caps, const Authenticator* authenticator,
                                  const grpc::ServerContext& context, Instant now,
                                  CallCaps::Pass& pass) {
  LOSSD_ASSIGN_OR_RETURN(pass, caps.Begin(context.peer(), now));
  if (authenticator == nullptr) return "";
  absl::StatusOr<std::string> caller = authenticator->Authenticate(context);
  // A call without a right to be here costs its peer what one that is broken off costs.
  if (!caller.ok()) pass.BrokenOff();
  return caller;
}

}  // namespace lossd
