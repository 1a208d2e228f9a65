#ifndef LOSSD_WIRE_LOSS_CODEC_H_
#define LOSSD_WIRE_LOSS_CODEC_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lossd/losses.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/walker.h"
#include "protos/wire/writer.h"

// The loss of a LossSpec: one member of a oneof, whose message has the options. Everything about it
// comes from the rows of the catalogue.

namespace lossd::wire {

// How an option is written by encoders: after a tag of one byte a double, or a number of one byte.
// Others, lists and messages, which encoders write too, are left to generated code.
template <class T>
inline constexpr bool kIsDouble =
    std::is_same_v<T, double> || std::is_same_v<T, std::optional<double>>;
template <class T>
inline constexpr bool kIsPlain = !std::is_same_v<T, std::vector<double>> && !kIsOneOf<T>;
template <class T>
constexpr uint8_t OptionTag(int number) {
  return static_cast<uint8_t>(number << 3 | (kIsDouble<T> ? 1 : 0));
}
template <class T>
inline constexpr size_t kOptionBytes = 1 + (kIsDouble<T> ? sizeof(double) : 1);

// How many bytes at the front of the message of a loss are an option as above; 0: none.
template <class L>
size_t PlainOption(absl::Span<const uint8_t> message) {
  size_t size = 0;
  ForEachOption<L>([&]<class T>(const Option<L, T>& option) {
    if constexpr (kIsPlain<T>) {
      if (message[0] != OptionTag<T>(option.number) || message.size() < kOptionBytes<T>) return;
      if (kIsDouble<T> || message[1] < 0x80) size = kOptionBytes<T>;
    }
  });
  return size;
}

// Whether the message of a loss has nothing but options as above, each at most once: of two, the
// last one counts.
template <class L>
bool IsPlainLoss(absl::Span<const uint8_t> message) {
  uint32_t seen = 0;
  while (!message.empty()) {
    const size_t size = PlainOption<L>(message);
    const uint32_t option = uint32_t{1} << (message[0] >> 3);
    if (size == 0 || (seen & option) != 0) return false;
    seen |= option;
    message.remove_prefix(size);
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
