#include "absl/strings/cord.h"
#include "absl/types/optional.h"
#include "client/transport/transport.h"
#include "lossd/client.h"

namespace lossd {

std::string LossReason(const absl::Status& error) {
  const absl::optional<absl::Cord> reason =
      error.GetPayload(absl::string_view(kReasonPayload.data(), kReasonPayload.size()));
  return reason ? std::string(*reason) : "";
}

}  // namespace lossd
