#ifndef LOSSD_CORE_FILES_TOKEN_FILE_H_
#define LOSSD_CORE_FILES_TOKEN_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/files/text_file.h"

namespace lossd {

// What is wrong with a bearer token; empty: nothing. A token is 1 to 4096 visible ASCII characters:
// it travels as metadata of a call, which servers take 8 KiB of.
absl::string_view FaultOfToken(absl::string_view token);

// The bearer tokens of a file, at least one: one a line; blank lines and lines that begin with # do
// not count. kInvalidArgument names the file, the line and what is wrong, and no token.
absl::StatusOr<std::vector<std::string>> ReadTokens(const NamedFile& file);

}  // namespace lossd

#endif  // LOSSD_CORE_FILES_TOKEN_FILE_H_
