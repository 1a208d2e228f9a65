#ifndef LOSSD_SERVER_METRICS_LABELS_H_
#define LOSSD_SERVER_METRICS_LABELS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

#include "lossd/loss_spec.h"

// What calls are told apart by, where they are counted: closed sets, so that no caller can make the
// server keep one counter more.
namespace lossd {

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

// In the order of lossd::Loss.
inline constexpr std::array<std::string_view, std::variant_size_v<Loss>> kLossNames = {
    "softmax", "multinomial_logistic", "nll"};

// What a call's time goes to. The phases of a stream overlap.
enum class Phase : int8_t {
  kQueue,     // waiting for memory and for a thread
  kUpload,    // waiting for the client's messages
  kCompute,   // decoding, checking, computing, encoding
  kDownload,  // waiting until the connection has taken an answer
};
inline constexpr int kPhases = 4;

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_LABELS_H_
