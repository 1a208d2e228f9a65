#ifndef LOSSD_SPEC_TEXT_H_
#define LOSSD_SPEC_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "lossd/loss_spec.h"

namespace lossd {

// A spec from a lossd.v1.LossSpec as text: in protobuf's JSON format where it begins with a brace,
// else in its text format, both read by protobuf's own parsers. Ranges are not checked, and outputs
// are left out: those of a call are the ones that have a buffer. kInvalidArgument says what is
// wrong, of the text format behind "LINE:COLUMN: ".
absl::StatusOr<LossSpec> ParseSpec(const std::string& text);

}  // namespace lossd

#endif  // LOSSD_SPEC_TEXT_H_
