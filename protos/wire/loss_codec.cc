#include "protos/wire/loss_codec.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>

#include <bit>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "lossd/status_macros.h"
#include "protos/wire/unknown_fields.h"

namespace lossd::wire {
namespace {

using google::protobuf::FieldDescriptor;
// The loss with that field of LossSpec, and default options.
std::optional<Loss> LossOf(int number) {
  for (size_t i = 0; i < kLossCount; ++i) {
    if (kLossFacts[i].number == number) return kDefaultLosses[i];
  }
  return std::nullopt;
}

absl::Status NoLoss() {
  const auto name = [](std::string* out, const LossFacts& loss) {
    absl::StrAppend(out, std::string(loss.name));
  };
  return absl::InvalidArgumentError(
      absl::StrCat("spec.loss is not set; wanted one of ", absl::StrJoin(kLossFacts, ", ", name)));
}

// Precondition: IsPlainLoss.
template <class L>
void ReadOptions(absl::Span<const uint8_t> message, L& loss) {
  for (; !message.empty(); message.remove_prefix(kOptionBytes)) {
    uint64_t bits = 0;
    google::protobuf::io::CodedInputStream::ReadLittleEndian64FromArray(message.data() + 1, &bits);
    for (const Option<L>& option : LossRow<L>::kOptions) {
      if (message[0] == OptionTag(option.number)) loss.*option.member = std::bit_cast<double>(bits);
    }
  }
}

// The loss of a spec that generated code has parsed.
absl::StatusOr<Loss> ReadParsed(const v1::LossSpec& spec) {
  std::optional<Loss> loss = LossOf(spec.loss_case());
  if (!loss) return NoLoss();
  const FieldDescriptor* const field =
      v1::LossSpec::descriptor()->FindFieldByNumber(spec.loss_case());
  const google::protobuf::Message& message = spec.GetReflection()->GetMessage(spec, field);
  LOSSD_RETURN_IF_ERROR(CheckKnown(message));
  std::visit(
      [&message]<class L>(L& of_type) {
        for (const Option<L>& option : LossRow<L>::kOptions) {
          const FieldDescriptor* const its =
              message.GetDescriptor()->FindFieldByNumber(option.number);
          const google::protobuf::Reflection* const reflection = message.GetReflection();
          if (its->has_presence() && !reflection->HasField(message, its)) continue;
          of_type.*option.member = reflection->GetDouble(message, its);
        }
      },
      *loss);
  return *loss;
}

}  // namespace

absl::StatusOr<Loss> ReadLoss(const v1::LossSpec& spec, const LargeFields& large, int slot) {
  if (large.all_parsed()) return ReadParsed(spec);
  const Slot& kept = large.slot(slot);
  std::optional<Loss> loss = LossOf(kept.number);
  if (!loss) return NoLoss();
  std::visit([&kept](auto& of_type) { ReadOptions(kept.small, of_type); }, *loss);
  return *loss;
}

void WriteLoss(const Loss& loss, Writer& spec) {
  std::visit(
      [&spec]<class L>(const L& of_type) {
        Writer written;
        for (const Option<L>& option : LossRow<L>::kOptions) {
          const double value = of_type.*option.member;
          if (option.default_value() == 0) {
            written.Double(option.number, value);
          } else {
            written.SetDouble(option.number, value);
          }
        }
        spec.Message(LossRow<L>::kNumber, std::move(written));
      },
      loss);
}

}  // namespace lossd::wire
