#ifndef LOSSD_SERVER_FRONT_TEXT_FILE_H_
#define LOSSD_SERVER_FRONT_TEXT_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace lossd {

// The whole of a regular file. kInvalidArgument, in one line that begins with `flag` and the path,
// if it cannot be read, is no file, or is larger than 1 MiB.
absl::StatusOr<std::string> ReadTextFile(const std::string& flag, const std::string& path);

}  // namespace lossd

#endif  // LOSSD_SERVER_FRONT_TEXT_FILE_H_
