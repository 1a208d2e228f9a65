#include "protos/wire/unknown_fields.h"

#include <google/protobuf/unknown_field_set.h>

#include "absl/strings/str_cat.h"

namespace lossd::wire {

absl::Status CheckKnown(const google::protobuf::Message& message) {
  const google::protobuf::UnknownFieldSet& fields =
      message.GetReflection()->GetUnknownFields(message);
  if (fields.empty()) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(message.GetTypeName(), " has the field ",
                                               fields.field(0).number(),
                                               ", which this server does not know"));
}

}  // namespace lossd::wire
