#include "core/exec/simd.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/kernels/targets.h"

namespace lossd {

std::string ActiveSimdTarget() { return kernels::ActiveTarget(); }

absl::Status ForceSimdTarget(std::string_view name) {
  if (kernels::ForceTarget(name)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("is \"", std::string(name), "\"; wanted one of ",
                                                 absl::StrJoin(kernels::SupportedTargets(), ", ")));
}

}  // namespace lossd
