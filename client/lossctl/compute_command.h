#ifndef LOSSD_LOSSCTL_COMPUTE_COMMAND_H_
#define LOSSD_LOSSCTL_COMPUTE_COMMAND_H_

#include "client/lossctl/compute_flags.h"

namespace lossd::lossctl {

// `lossctl compute`; returns the exit code.
int RunCompute(const ComputeFlags& flags);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_COMPUTE_COMMAND_H_
