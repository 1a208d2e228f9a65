#ifndef LOSSD_SERVER_CONFIG_CONFIG_FILE_H_
#define LOSSD_SERVER_CONFIG_CONFIG_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/files/text_file.h"
#include "core/flags/flag_list.h"

namespace lossd {

// What a file gives:
//
//   # A comment has a line of its own.
//   listen = 0.0.0.0:50151
//   listen = unix:/run/lossd.sock
//   max-unary-bytes = 16MiB
//
// A value goes to the end of its line, without quotes; what takes many values is repeated, anything
// else is given once. kInvalidArgument names file, line and key.
absl::StatusOr<std::vector<Given>> ReadConfigFile(const NamedFile& file, const FlagList& flags);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_CONFIG_FILE_H_
