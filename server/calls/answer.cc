#include "server/calls/answer.h"

#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "protos/wire/grpc_status.h"
#include "server/admission/refusal.h"

namespace lossd {

absl::Status OutOfMemory() { return Refuse(Refusal::kOutOfMemory, "the server is out of memory"); }

absl::Status Thrown(const std::exception& thrown) {
  return absl::InternalError(absl::StrCat("unexpected exception: ", thrown.what()));
}

grpc::Status Conclude(CallLog& log, const absl::Status& status, AdmissionCounters& counters,
                      grpc::ServerContext& context) {
  std::string_view reason;
  if (const std::optional<Refusal> why = RefusalOf(status)) {
    ++counters.refused_for(*why);
    reason = TokenOf(*why);
    for (const auto& [key, value] : TrailersOf(status)) context.AddTrailingMetadata(key, value);
  }
  log.Ended(status, reason);
  if (absl::IsInternal(status) || absl::IsUnknown(status)) {
    return wire::ToGrpc(
        absl::Status(status.code(), "internal error of the server; details are in its log"));
  }
  return wire::ToGrpc(status);
}

}  // namespace lossd
