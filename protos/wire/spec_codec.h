#ifndef LOSSD_WIRE_SPEC_CODEC_H_
#define LOSSD_WIRE_SPEC_CODEC_H_

#include <google/protobuf/descriptor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lossd/loss_spec.h"
#include "lossd/v1/loss.pb.h"

namespace lossd::wire {

// kInvalidArgument for 0 (*_UNSPECIFIED), kUnimplemented for a number without a name; both name
// `field` and the values there are.
absl::Status CheckEnum(absl::string_view field, int number,
                       const google::protobuf::EnumDescriptor& type);

// A core enum from the number of its wire enum: they are equal.
template <class Core>
absl::StatusOr<Core> ReadEnum(absl::string_view field, int number,
                              const google::protobuf::EnumDescriptor& type) {
  if (absl::Status status = CheckEnum(field, number, type); !status.ok()) return status;
  return static_cast<Core>(number);
}

// Absent fields get their defaults; ranges are not checked.
absl::StatusOr<LossSpec> FromProto(const v1::LossSpec& spec);
v1::LossSpec ToProto(const LossSpec& spec);

Box FromProto(const v1::Box& box);
v1::Box ToProto(const Box& box);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_SPEC_CODEC_H_
