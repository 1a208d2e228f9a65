#include "server/calls/answer.h"

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "protos/wire/grpc_status.h"

namespace lossd {

absl::Status OutOfMemory() { return absl::UnavailableError("the server is out of memory"); }

absl::Status Thrown(const std::exception& thrown) {
  return absl::InternalError(absl::StrCat("unexpected exception: ", thrown.what()));
}

grpc::Status Conclude(const char* method, const absl::Status& status) {
  if (absl::IsInternal(status) || absl::IsUnknown(status)) {
    const std::string text = status.ToString();
    std::fprintf(stderr, "lossd: %s failed: %s\n", method, text.c_str());
    return wire::ToGrpc(
        absl::Status(status.code(), "internal error of the server; details are in its log"));
  }
  return wire::ToGrpc(status);
}

}  // namespace lossd
