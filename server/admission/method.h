#ifndef LOSSD_SERVER_ADMISSION_METHOD_H_
#define LOSSD_SERVER_ADMISSION_METHOD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lossd {

// The methods that calls are told apart by: a closed set, so that no caller can make the server
// keep one counter more.
enum class Method : int8_t {
  // Those of LossService.
  kCompute,
  kComputeStream,
  kGetServerInfo,
  // Those of other services, and all that this server does not have.
  kHealthCheck,
  kHealthWatch,
  kReflection,
  kUnknown,
};
inline constexpr size_t kLossMethods = 3;
inline constexpr std::array<std::string_view, 7> kMethodNames = {
    "Compute",      "ComputeStream",        "GetServerInfo", "Health/Check",
    "Health/Watch", "ServerReflectionInfo", "unknown"};
static_assert(static_cast<size_t>(Method::kUnknown) + 1 == kMethodNames.size());
inline constexpr std::string_view NameOf(Method method) {
  return kMethodNames[static_cast<size_t>(method)];
}

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_METHOD_H_
