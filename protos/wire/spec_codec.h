#ifndef LOSSD_WIRE_SPEC_CODEC_H_
#define LOSSD_WIRE_SPEC_CODEC_H_

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "lossd/loss_spec.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/loss_codec.h"
#include "protos/wire/walker.h"
#include "protos/wire/writer.h"

namespace lossd::wire {

// The name of a field, put together where an error needs it.
struct FieldName {
  FieldName(const char* field_in) : field(field_in) {}  // NOLINT(google-explicit-constructor)
  FieldName(absl::string_view message_in, const char* field_in)
      : message(message_in), field(field_in) {}

  absl::string_view message;  // empty: a field of the outermost message
  absl::string_view field;
};

// A wire enum, as generated code tells of it: E_IsValid and E_descriptor.
struct EnumType {
  bool (*has_name)(int number);
  const google::protobuf::EnumDescriptor* (*describe)();
};

// kInvalidArgument for 0 (*_UNSPECIFIED), kUnimplemented for another number without a name; both
// name `field` and the values there are.
absl::Status RefuseEnum(const FieldName& field, int number,
                        const google::protobuf::EnumDescriptor& type);

// A core enum from the number of its wire enum: they are equal. Others are refused.
template <class Core>
absl::StatusOr<Core> ReadEnum(const FieldName& field, int number, const EnumType& type) {
  if (number == 0 || !type.has_name(number)) return RefuseEnum(field, number, *type.describe());
  return static_cast<Core>(number);
}

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
Writer ToProto(const LossSpec& spec);

Box FromProto(const v1::Box& box);
Writer ToProto(const Box& box);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_SPEC_CODEC_H_
