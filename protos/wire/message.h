#ifndef LOSSD_WIRE_MESSAGE_H_
#define LOSSD_WIRE_MESSAGE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lossd/outputs.h"
#include "lossd/tensor.h"

namespace lossd::wire {

// The largest message that generated parsers take.
inline constexpr int64_t kMaxMessageBytes = (int64_t{1} << 31) - 17;

// A received message. Owns its slices; copies share them. No byte is copied, except where a message
// arrived in so many pieces that their bookkeeping would outweigh it: that one is joined.
class Message {
 public:
  Message() = default;
  explicit Message(const grpc::ByteBuffer& buffer);
  // A message that came some other way; `storage` keeps its bytes alive.
  Message(ScatteredBytes bytes, std::shared_ptr<const void> storage)
      : storage_(std::move(storage)), bytes_(std::move(bytes)) {}

  const ScatteredBytes& bytes() const { return bytes_; }

  // Keeps the bytes alive.
  std::shared_ptr<const void> storage() const { return storage_; }

 private:
  std::shared_ptr<const void> storage_;
  ScatteredBytes bytes_;
};

// A place in memory that a client shares with the server.
struct Region {
  using Token = std::array<uint8_t, 16>;
  static constexpr int64_t kAlignment = 64;

  Token token = {};
  uint64_t offset = 0;  // in bytes, a multiple of kAlignment

  friend bool operator==(const Region&, const Region&) = default;
};

// Whether an output may go to a region; others always travel in the answer.
constexpr bool MayGoToRegion(const OutputFacts& row) { return row.per == Per::kElement; }

// Where outputs go that do not travel in the answer.
using OutputRegions = Outputs<std::optional<Region>>;

// A tensor or byte field inside a received message: the description and where its bytes lie. The
// bytes live as long as the decoded message they came with.
struct WireTensor {
  TensorDesc desc;
  ScatteredBytes data;
  std::optional<Region> region;  // in place of data
};

// Bytes to be sent. `release` runs once, on any thread, when nothing looks at them any more; it may
// be empty. Where memory runs out it is destroyed, perhaps without having run.
struct Payload {
  ByteSpan bytes;
  std::function<void()> release;
};

// A tensor to be sent. Its shape stays where it is until the message is written.
struct OutgoingTensor {
  DType dtype = DType::kF32;
  absl::Span<const int64_t> shape = {};
  Layout layout = Layout::kRowMajor;
  Payload data = {};
  std::optional<Region> region = {};  // in place of data
};

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_MESSAGE_H_
