#include "server/calls/answer.h"

#include <cstdio>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "protos/wire/grpc_status.h"
#include "server/admission/refusal.h"

namespace lossd {

absl::Status OutOfMemory() { return Refuse(Refusal::kOutOfMemory, "the server is out of memory"); }

absl::Status Thrown(const std::exception& thrown) {
  return absl::InternalError(absl::StrCat("unexpected exception: ", thrown.what()));
}

grpc::Status Conclude(const char* method, const absl::Status& status, AdmissionCounters& counters,
                      grpc::ServerContext& context) {
  if (const std::optional<Refusal> why = RefusalOf(status)) {
    ++counters.refused_for(*why);
    for (const auto& [key, value] : TrailersOf(status)) context.AddTrailingMetadata(key, value);
  }
  if (absl::IsInternal(status) || absl::IsUnknown(status)) {
    const std::string text = status.ToString();
    std::fprintf(stderr, "lossd: %s failed: %s\n", method, text.c_str());
    return wire::ToGrpc(
        absl::Status(status.code(), "internal error of the server; details are in its log"));
  }
  return wire::ToGrpc(status);
}

}  // namespace lossd
