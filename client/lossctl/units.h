#ifndef LOSSD_LOSSCTL_UNITS_H_
#define LOSSD_LOSSCTL_UNITS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

// Quantities as people read them: three significant digits.

namespace lossd::lossctl {

std::string HumanBytes(double bytes);        // "1.25 GiB"
std::string HumanCount(double count);        // "33.6 million"
std::string HumanTime(absl::Duration time);  // "1.25 ms"

// The shortest text that reads back as the same number; "nan", "inf", "-inf".
std::string ShortestNumber(double value);

// Text of others made fit for one line of a terminal: control characters become blanks.
std::string OneLine(absl::string_view text);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_UNITS_H_
