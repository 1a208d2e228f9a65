#include "server/calls/entry.h"

#include <string>
#include <utility>

#include "lossd/status_macros.h"

namespace lossd {
namespace {

// All of x-forwarded-for, in the order in which proxies have added to it.
std::string ForwardedFor(const grpc::ServerContext& context) {
  std::string all;
  const auto [begin, end] = context.client_metadata().equal_range("x-forwarded-for");
  for (auto one = begin; one != end; ++one) {
    if (one != begin) all += ',';
    all.append(one->second.data(), one->second.size());
  }
  return all;
}

}  // namespace

absl::StatusOr<std::string> Enter(CallCaps& caps, const Authenticator* authenticator,
                                  const grpc::ServerContext& context, Instant now,
                                  CallCaps::Pass& pass) {
  LOSSD_ASSIGN_OR_RETURN(pass, caps.Begin(context.peer(), now, ForwardedFor(context)));
  if (authenticator == nullptr) return "";
  absl::StatusOr<std::string> caller = authenticator->Authenticate(context);
  if (caller.ok()) {
    LOSSD_RETURN_IF_ERROR(pass.Identify(*caller, now));
  } else {
    pass.Unauthenticated();
  }
  return caller;
}

}  // namespace lossd
