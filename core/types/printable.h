#ifndef LOSSD_CORE_TYPES_PRINTABLE_H_
#define LOSSD_CORE_TYPES_PRINTABLE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace lossd {

// Of one value in a line of the log.
inline constexpr size_t kMaxPrintableBytes = 200;

// `text`, whoever wrote it, as visible ASCII and blanks: every other byte is \xNN, a backslash is
// doubled. At most kMaxPrintableBytes, with "..." at the end of what was cut; an escape is kept
// whole or left out.
std::string Printable(std::string_view text);

// What Printable gave, as a value of a line: of JSON, in quotes; of text, in quotes where it is
// empty or has a blank, a quote or "=".
std::string JsonValue(std::string_view printable);
std::string TextValue(std::string_view printable);

}  // namespace lossd

#endif  // LOSSD_CORE_TYPES_PRINTABLE_H_
