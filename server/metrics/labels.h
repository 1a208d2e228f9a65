#ifndef LOSSD_SERVER_METRICS_LABELS_H_
#define LOSSD_SERVER_METRICS_LABELS_H_

#include <cstdint>

namespace lossd {

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
