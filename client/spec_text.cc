#include "lossd/spec_text.h"

#include "protos/wire/spec_text.h"

namespace lossd {

absl::StatusOr<LossSpec> ParseSpec(const std::string& text) { return wire::ParseSpec(text); }

}  // namespace lossd
