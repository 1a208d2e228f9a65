#ifndef LOSSD_CORE_FILES_TEXT_FILE_H_
#define LOSSD_CORE_FILES_TEXT_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lossd {

// A file and the option that named it.
struct NamedFile {
  std::string option;
  std::string path;
};

// kInvalidArgument: "OPTION PATH: WHY".
absl::Status CannotUse(const NamedFile& file, absl::string_view why);

// The whole of a regular file. kInvalidArgument if it cannot be read, is no file, or is larger than
// 1 MiB.
absl::StatusOr<std::string> ReadTextFile(const NamedFile& file);

}  // namespace lossd

#endif  // LOSSD_CORE_FILES_TEXT_FILE_H_
