#ifndef LOSSD_CLIENT_LOSSCTL_SPEC_FILE_H_
#define LOSSD_CLIENT_LOSSCTL_SPEC_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "lossd/loss_spec.h"

namespace lossd::lossctl {

// The spec that a file of at most 1 MiB holds (ParseSpec). kInvalidArgument names the file.
absl::StatusOr<LossSpec> ReadSpecFile(const std::string& path);

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_SPEC_FILE_H_
