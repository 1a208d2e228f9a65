#ifndef LOSSD_CLIENT_LOSSCTL_SUGGESTION_H_
#define LOSSD_CLIENT_LOSSCTL_SUGGESTION_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// What a word that lossctl does not know probably means: a name of another framework for the same
// thing, or one of ours with a slip of the finger.

namespace lossd::lossctl {

// For a value of a flag: "; did you mean weight_sum (...)?", or nothing. `names` are those that
// are known.
std::string MeantValue(absl::string_view flag, absl::string_view value,
                       absl::Span<const absl::string_view> names);

// For a flag, with its dashes.
std::string MeantFlag(absl::string_view flag, absl::Span<const std::string> names);

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_SUGGESTION_H_
