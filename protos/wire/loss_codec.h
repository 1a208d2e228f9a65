#ifndef LOSSD_WIRE_LOSS_CODEC_H_
#define LOSSD_WIRE_LOSS_CODEC_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lossd/losses.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/walker.h"
#include "protos/wire/writer.h"

// The loss of a LossSpec: one member of a oneof, whose message has the options. Everything about it
// comes from the rows of the catalogue.

namespace lossd::wire {

// An option as encoders write it: a tag of one byte and a double.
inline constexpr size_t kOptionBytes = 1 + sizeof(double);
constexpr uint8_t OptionTag(int number) { return static_cast<uint8_t>(number << 3 | 1); }

// Whether the message of a loss has nothing but options as encoders write them.
template <class L>
bool IsPlainLoss(absl::Span<const uint8_t> message) {
  for (; !message.empty(); message.remove_prefix(kOptionBytes)) {
    const auto has_tag = [&](const Option<L>& option) {
      return message[0] == OptionTag(option.number);
    };
    if (message.size() < kOptionBytes || std::ranges::none_of(LossRow<L>::kOptions, has_tag)) {
      return false;
    }
  }
  return true;
}

// The fields of LossSpec that are losses, whichever it is in one slot.
constexpr std::array<FieldRule, kLossCount> LossFields(int slot) {
  std::array<FieldRule, kLossCount> rules{};
  size_t i = 0;
  ForEachLoss([&]<class L>(const L&) {
    rules[i++] = SmallField(LossRow<L>::kNumber, slot, kLossFacts[0].number, &IsPlainLoss<L>);
  });
  return rules;
}

// The loss in `slot` or, of a message that was parsed whole, in `spec`; absent options get their
// defaults. Ranges are not checked.
absl::StatusOr<Loss> ReadLoss(const v1::LossSpec& spec, const LargeFields& large, int slot);

void WriteLoss(const Loss& loss, Writer& spec);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_LOSS_CODEC_H_
