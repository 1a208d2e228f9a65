#ifndef LOSSD_WIRE_ENUMS_H_
#define LOSSD_WIRE_ENUMS_H_

#include <google/protobuf/descriptor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Enums as they come over the wire, where any number may stand.

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

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_ENUMS_H_
