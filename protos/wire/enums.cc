#include "protos/wire/enums.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace lossd::wire {

absl::Status RefuseEnum(const FieldName& field, int number,
                        const google::protobuf::EnumDescriptor& type) {
  const absl::string_view dot = field.message.empty() ? "" : ".";
  const std::string name = absl::StrCat(field.message, dot, field.field);
  std::string wanted;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() == 0) continue;
    absl::StrAppend(&wanted, wanted.empty() ? "" : ", ", type.value(i)->name());
  }
  if (number == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is ", type.FindValueByNumber(0)->name(), "; wanted one of ", wanted));
  }
  return absl::UnimplementedError(
      absl::StrCat(name, " is ", number, ", which is not known; wanted one of ", wanted));
}

}  // namespace lossd::wire
