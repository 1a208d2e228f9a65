#ifndef LOSSD_WIRE_SPEC_CODEC_H_
#define LOSSD_WIRE_SPEC_CODEC_H_

#include <algorithm>
#include <array>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lossd/loss_spec.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/loss_codec.h"
#include "protos/wire/walker.h"
#include "protos/wire/writer.h"

namespace lossd::wire {

// Whether lossd.v1.Outputs has nothing but fields as encoders write them.
bool AreOutputsPlain(absl::Span<const uint8_t> message);

// The fields of LossSpec that are read here, without generated code: the loss and the outputs.
struct SpecSlots {
  int loss;
  int outputs;
};
constexpr std::array<FieldRule, kLossCount + 1> SpecFields(SpecSlots slots) {
  constexpr int kOutputs = v1::LossSpec::kOutputsFieldNumber;
  std::array<FieldRule, kLossCount + 1> rules{};
  rules[0] = SmallField(kOutputs, slots.outputs, kOutputs, &AreOutputsPlain);
  std::ranges::copy(LossFields(slots.loss), rules.begin() + 1);
  return rules;
}

// Absent fields get their defaults; ranges are not checked.
absl::StatusOr<LossSpec> FromProto(const v1::LossSpec& spec, const LargeFields& large,
                                   SpecSlots slots);
Writer ToProto(const LossSpec& spec, const OutputRegions& regions = {});

// Where the outputs of `spec`, which was read from the same message, go. kInvalidArgument for a
// place of an output that is not wanted.
absl::StatusOr<OutputRegions> ReadOutputRegions(const LossSpec& spec, const v1::Outputs& parsed,
                                                const LargeFields& large, int slot);

Box FromProto(const v1::Box& box);
Writer ToProto(const Box& box);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_SPEC_CODEC_H_
