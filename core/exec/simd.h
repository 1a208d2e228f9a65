#ifndef LOSSD_CORE_EXEC_SIMD_H_
#define LOSSD_CORE_EXEC_SIMD_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace lossd {

// Name of the SIMD target that computes: "AVX3", "AVX2", ...
std::string ActiveSimdTarget();

// Computes on the named target from now on. kInvalidArgument, and no change, for a name that this
// build or this CPU does not have: never a silent fallback. Not while anything is computed.
absl::Status ForceSimdTarget(std::string_view name);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_SIMD_H_
