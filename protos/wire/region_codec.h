#ifndef LOSSD_WIRE_REGION_CODEC_H_
#define LOSSD_WIRE_REGION_CODEC_H_

#include <algorithm>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lossd/outputs.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/message.h"
#include "protos/wire/writer.h"

namespace lossd::wire {

// The field of lossd.v1.Outputs that says where in a region an output goes; 0: it always travels in
// the answer.
constexpr int RegionField(const OutputFacts& row) {
  switch (row.outputs_field) {
    case v1::Outputs::kGradientFieldNumber:
      return v1::Outputs::kGradientRegionFieldNumber;
    case v1::Outputs::kProbabilitiesFieldNumber:
      return v1::Outputs::kProbabilitiesRegionFieldNumber;
    case v1::Outputs::kSecondGradientFieldNumber:
      return v1::Outputs::kSecondGradientRegionFieldNumber;
    default:
      return 0;
  }
}

static_assert(std::ranges::all_of(kOutputRows<bool>, [](const OutputFacts& row) {
  return MayGoToRegion(row) == (RegionField(row) != 0);
}));

// Takes the length and the fields of a lossd.v1.Region off the front of `bytes`, as encoders write
// them. False: generated code has to judge them.
bool TakeRegion(absl::Span<const uint8_t>& bytes, std::optional<Region>& into);

// kUnimplemented for an unknown field, kInvalidArgument for a token that is not 16 bytes.
absl::StatusOr<Region> FromProto(std::string_view name, const v1::Region& region);

// kInvalidArgument for an offset that is not aligned; the error names `name`.
absl::Status CheckOffset(std::string_view name, const Region& region);

Writer ToProto(const Region& region);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_REGION_CODEC_H_
