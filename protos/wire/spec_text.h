#ifndef LOSSD_WIRE_SPEC_TEXT_H_
#define LOSSD_WIRE_SPEC_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "lossd/loss_spec.h"

namespace lossd::wire {

// ParseSpec of lossd/spec_text.h.
absl::StatusOr<LossSpec> ParseSpec(const std::string& text);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_SPEC_TEXT_H_
