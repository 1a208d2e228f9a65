#ifndef LOSSD_WIRE_WALKER_H_
#define LOSSD_WIRE_WALKER_H_

#include <google/protobuf/message_lite.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "lossd/tensor.h"
#include "protos/wire/compact.h"
#include "protos/wire/message.h"

// Parses a protobuf message whose large byte fields stay where they arrived.
//
// The walk follows the fields on the way to the large ones and notes where those lie. All other
// bytes, copied in their order, are the same message with its large fields empty: generated code
// parses that. Where one of the followed fields occurs twice (protobuf merges them) or is oddly
// encoded, generated code parses the whole message instead. A small message that lies in one piece,
// as most do, is walked by a loop that knows little more than that.

namespace lossd::wire {

// Large fields of one message are told apart by small numbers that the message's codec chooses.
inline constexpr int kMaxSlots = 10;
inline constexpr int kMaxTensorSlots = 6;  // tensors take the first ones

// A length-delimited field to follow: bytes that go to a slot, or a message with such a field
// inside.
struct FieldRule {
  int number;
  int slot;                            // of the bytes; unused where `inside` is not empty
  absl::Span<const FieldRule> inside;  // fields of the message
  bool small = false;                  // the bytes count as small ones
};

// Tensor.data, by slot.
inline constexpr int kTensorDataField = 4;
inline constexpr FieldRule kTensorData[kMaxTensorSlots] = {
    {kTensorDataField, 0, {}}, {kTensorDataField, 1, {}}, {kTensorDataField, 2, {}},
    {kTensorDataField, 3, {}}, {kTensorDataField, 4, {}}, {kTensorDataField, 5, {}}};

constexpr FieldRule BytesField(int number, int slot) { return {number, slot, {}}; }
constexpr FieldRule SmallField(int number, int slot) { return {number, slot, {}, true}; }
constexpr FieldRule TensorField(int number, int slot) {
  return {number, -1, absl::Span<const FieldRule>(&kTensorData[slot], 1)};
}
constexpr FieldRule MessageField(int number, absl::Span<const FieldRule> inside) {
  return {number, -1, inside};
}

// The field that a slot holds.
struct Slot {
  int number = 0;
  ScatteredBytes bytes;
};
using Slots = std::array<Slot, kMaxSlots>;

// Where the large fields lie.
class LargeFields {
 public:
  // The bytes of a field, given the string of the parsed message: one of the two places holds them.
  ScatteredBytes Bytes(int slot, const std::string& parsed) const;

  // The same of a field that may be one of several: its number, or 0 where there is none or the
  // message was parsed whole, and its bytes.
  int number(int slot) const { return slots_[slot].number; }
  const ScatteredBytes& bytes(int slot) const { return slots_[slot].bytes; }

  // Keeps all bytes alive: the received message, or the parsed one where that was unusual.
  const std::shared_ptr<const void>& storage() const { return storage_; }

 private:
  template <class M>
  friend class Parsed;

  using MakeWhole = absl::FunctionRef<std::shared_ptr<google::protobuf::MessageLite>()>;

  // Parses into `small`, an empty message, or, where it has to be parsed whole, into what
  // `make_whole` makes. See Parsed::Parse.
  absl::Status ParseAround(const Message& message, absl::Span<const FieldRule> rules,
                           int64_t max_small_bytes, google::protobuf::MessageLite& small,
                           MakeWhole make_whole);

  Slots slots_;
  std::shared_ptr<const void> storage_;
};

// A parsed message of type M, and its large fields.
template <class M>
class Parsed {
 public:
  // Once. kInvalidArgument where the message is not valid, or where it has more than
  // max_small_bytes beside the large fields: small fields can take many times their size once
  // parsed, so their size is a limit on memory.
  absl::Status Parse(const Message& message, absl::Span<const FieldRule> rules,
                     int64_t max_small_bytes) {
    return large_.ParseAround(message, rules, max_small_bytes, *small_,
                              [this] { return whole_ = std::make_shared<M>(); });
  }

  const M& operator*() const { return whole_ == nullptr ? *small_ : *whole_; }
  const M* operator->() const { return &**this; }
  const LargeFields& large() const { return large_; }

 private:
  Compact<M> small_;          // with its large fields empty
  std::shared_ptr<M> whole_;  // in its stead: of an unusual message, whose large fields are here
  LargeFields large_;
};

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_WALKER_H_
