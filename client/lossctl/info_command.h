#ifndef LOSSD_LOSSCTL_INFO_COMMAND_H_
#define LOSSD_LOSSCTL_INFO_COMMAND_H_

#include "client/lossctl/flags.h"

namespace lossd::lossctl {

// `lossctl info`; returns the exit code.
int RunInfo(const ServerFlags& flags, bool json);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_INFO_COMMAND_H_
