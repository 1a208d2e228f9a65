#ifndef LOSSD_WIRE_LOSS_CODEC_H_
#define LOSSD_WIRE_LOSS_CODEC_H_

#include <array>
#include <cstddef>

#include "absl/status/statusor.h"
#include "lossd/losses.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/walker.h"
#include "protos/wire/writer.h"

// The loss of a LossSpec: one member of a oneof, whose message has the options. Everything about it
// comes from the rows of the catalogue.

namespace lossd::wire {

// The fields of LossSpec that are losses, whichever it is in one slot.
constexpr std::array<FieldRule, kLossCount> LossFields(int slot) {
  std::array<FieldRule, kLossCount> rules{};
  for (size_t i = 0; i < kLossCount; ++i) rules[i] = SmallField(kLossFacts[i].number, slot);
  return rules;
}

// The loss in `slot` or, of a message that was parsed whole, in `spec`; absent options get their
// defaults. Ranges are not checked.
absl::StatusOr<Loss> ReadLoss(const v1::LossSpec& spec, const LargeFields& large, int slot);

void WriteLoss(const Loss& loss, Writer& spec);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_LOSS_CODEC_H_
