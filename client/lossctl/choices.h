#ifndef LOSSD_CLIENT_LOSSCTL_CHOICES_H_
#define LOSSD_CLIENT_LOSSCTL_CHOICES_H_

#include "client/lossctl/flags.h"
#include "lossd/client.h"

// The words of flags that more than one command takes.

namespace lossd::lossctl {

inline constexpr Choice<DType> kFloatingDTypes[] = {
    {"f32", DType::kF32},
    {"f64", DType::kF64},
    {"f16", DType::kF16},
    {"bf16", DType::kBF16},
};
inline constexpr Choice<TransferMode> kTransports[] = {
    {"auto", TransferMode::kAuto},
    {"unary", TransferMode::kUnary},
    {"stream", TransferMode::kStream},
};

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_CHOICES_H_
