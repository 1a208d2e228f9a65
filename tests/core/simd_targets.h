#ifndef LOSSD_TESTS_CORE_SIMD_TARGETS_H_
#define LOSSD_TESTS_CORE_SIMD_TARGETS_H_

#include <string>

#include "core/kernels/targets.h"

namespace lossd::oracle {

// Restores the target that was in use.
struct TargetGuard {
  const std::string active = kernels::ActiveTarget();
  ~TargetGuard() { kernels::ForceTarget(active); }
};

// Whether a target has fused multiply-add: all of these give the same bits.
inline bool HasFma(const std::string& target) {
  return target == "AVX2" || target.starts_with("AVX3") || target == "NEON";
}

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_CORE_SIMD_TARGETS_H_
