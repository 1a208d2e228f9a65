#ifndef LOSSD_WIRE_WALKER_H_
#define LOSSD_WIRE_WALKER_H_

#include <google/protobuf/message_lite.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lossd/tensor.h"
#include "protos/wire/message.h"

// Parses a protobuf message whose large byte fields stay where they arrived.
//
// The walk follows the fields on the way to the large ones and notes where those lie. All other
// bytes, copied in their order, are the same message with its large fields empty: generated code
// parses that. Where one of the followed fields occurs twice (protobuf merges them) or is oddly
// encoded, generated code parses the whole message instead.

namespace lossd::wire {

// Large fields of one message are told apart by small numbers that the message's codec chooses.
inline constexpr int kMaxSlots = 9;
inline constexpr int kMaxTensorSlots = 6;  // tensors take the first ones

// A length-delimited field to follow: bytes that go to a slot, or a message with such a field
// inside.
struct FieldRule {
  int number;
  int slot;                            // of the bytes; unused where `inside` is not empty
  absl::Span<const FieldRule> inside;  // fields of the message
};

// Tensor.data, by slot.
inline constexpr int kTensorDataField = 4;
inline constexpr FieldRule kTensorData[kMaxTensorSlots] = {
    {kTensorDataField, 0, {}}, {kTensorDataField, 1, {}}, {kTensorDataField, 2, {}},
    {kTensorDataField, 3, {}}, {kTensorDataField, 4, {}}, {kTensorDataField, 5, {}}};

constexpr FieldRule BytesField(int number, int slot) { return {number, slot, {}}; }
constexpr FieldRule TensorField(int number, int slot) {
  return {number, -1, absl::Span<const FieldRule>(&kTensorData[slot], 1)};
}
constexpr FieldRule MessageField(int number, absl::Span<const FieldRule> inside) {
  return {number, -1, inside};
}

// Where the large fields lie.
class LargeFields {
 public:
  // The bytes of a field, given the string of the parsed message: one of the two places holds them.
  ScatteredBytes Bytes(int slot, const std::string& parsed) const;

  // Keeps all bytes alive: the received message, or the parsed one where that was unusual.
  const std::shared_ptr<const void>& storage() const { return storage_; }

 private:
  friend absl::StatusOr<LargeFields> ParseAround(
      const Message& message, absl::Span<const FieldRule> rules, int64_t max_small_bytes,
      const std::shared_ptr<google::protobuf::MessageLite>& parsed);

  std::array<ScatteredBytes, kMaxSlots> slots_;
  std::shared_ptr<const void> storage_;
};

// Parses `message` into `*parsed`, an empty message of the right type. kInvalidArgument where it is
// not valid, or where it has more than max_small_bytes beside the large fields: small fields can
// take many times their size once parsed, so their size is a limit on memory.
absl::StatusOr<LargeFields> ParseAround(
    const Message& message, absl::Span<const FieldRule> rules, int64_t max_small_bytes,
    const std::shared_ptr<google::protobuf::MessageLite>& parsed);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_WALKER_H_
