#ifndef LOSSD_WIRE_WALKER_H_
#define LOSSD_WIRE_WALKER_H_

#include <google/protobuf/message_lite.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "lossd/tensor.h"
#include "protos/wire/compact.h"
#include "protos/wire/message.h"

// Parses a protobuf message whose large byte fields stay where they arrived.
//
// The walk follows the fields on the way to the large ones and notes where those lie; it reads
// tensors, and keeps small messages that its codec reads by itself. All other bytes, copied in
// their order, are the same message without these fields: generated code parses that. Where one of
// the followed fields occurs twice (protobuf merges them), or is oddly encoded or has an unknown
// field, generated code parses the whole message instead. There is one walk; it reads a small
// message in one piece, as most are, by a pointer, and any other by protobuf's CodedInputStream.

namespace lossd::wire {

// Fields that are kept apart from the parsed message are told from each other by slots, small
// numbers that the message's codec chooses.
inline constexpr int kMaxSlots = 23;
inline constexpr int kMaxTensorSlots = 20;  // tensors take the first ones

// What becomes of a length-delimited field that a rule names.
enum class Keep : int8_t {
  kBytes,    // its bytes stay where they arrived: a slot says where
  kMessage,  // parsed, with rules for what is inside
  kTensor,   // its `data` stays where it arrived; the slot has what it says beside that
  kSmall,    // a small message: the slot has a copy
};

struct FieldRule {
  int number;
  Keep keep;
  int slot;                            // unused with kMessage
  int oneof;                           // the first number of the oneof that it is of, or its own
  absl::Span<const FieldRule> inside;  // fields of the message
  // With kSmall: whether the message has nothing but what its codec reads by itself.
  bool (*is_plain)(absl::Span<const uint8_t> message);
};

// A tensor beside its data, as encoders write it.
inline constexpr int kMaxRank = 8;
struct TensorHead {
  int dtype = 0;
  std::optional<int> layout;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape;
  std::optional<Region> region;

  absl::Span<const int64_t> extents() const { return {shape.data(), static_cast<size_t>(rank)}; }
};

// A field that was kept apart.
struct Slot {
  int number = 0;  // 0: it did not occur
  ScatteredBytes bytes;
  TensorHead tensor;
  absl::InlinedVector<uint8_t, 32> small;
};
using Slots = std::array<Slot, kMaxSlots>;

// Tensor.data, by slot.
inline constexpr int kTensorDataField = 4;
inline constexpr auto kTensorData = [] {
  std::array<FieldRule, kMaxTensorSlots> rules{};
  for (int slot = 0; slot < kMaxTensorSlots; ++slot) {
    rules[slot] = {kTensorDataField, Keep::kBytes, slot, kTensorDataField, {}, nullptr};
  }
  return rules;
}();

constexpr FieldRule BytesField(int number, int slot) {
  return {number, Keep::kBytes, slot, number, {}, nullptr};
}
constexpr FieldRule MessageField(int number, int oneof, absl::Span<const FieldRule> inside) {
  return {number, Keep::kMessage, -1, oneof, inside, nullptr};
}
constexpr FieldRule MessageField(int number, absl::Span<const FieldRule> inside) {
  return MessageField(number, number, inside);
}
constexpr FieldRule TensorField(int number, int slot, int oneof) {
  return {number, Keep::kTensor, slot, oneof, absl::MakeConstSpan(&kTensorData[slot], 1), nullptr};
}
constexpr FieldRule SmallField(int number, int slot, int oneof,
                               bool (*is_plain)(absl::Span<const uint8_t>)) {
  return {number, Keep::kSmall, slot, oneof, {}, is_plain};
}

// Where the large fields lie.
class LargeFields {
 public:
  // Whether the message was unusual: then its slots are empty, and all is in the parsed one.
  bool all_parsed() const { return all_parsed_; }
  const Slot& slot(int index) const { return slots_[index]; }

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
  bool all_parsed_ = false;
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
