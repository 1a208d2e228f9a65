#ifndef LOSSD_CORE_KERNELS_TARGETS_H_
#define LOSSD_CORE_KERNELS_TARGETS_H_

#include <string>
#include <string_view>
#include <vector>

namespace lossd::kernels {

// Names of the SIMD targets compiled in that this CPU runs, best first: "AVX3", "AVX2", "SSE4", ...
std::vector<std::string> SupportedTargets();

// Name of the target in use.
std::string ActiveTarget();

// Uses the named target from now on, for this process. False, and no change, for a name that is not
// among SupportedTargets(). Not while kernels run.
bool ForceTarget(std::string_view name);

}  // namespace lossd::kernels

#endif  // LOSSD_CORE_KERNELS_TARGETS_H_
