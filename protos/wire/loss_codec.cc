#include "protos/wire/loss_codec.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>
#include <google/protobuf/reflection.h>

#include <bit>
#include <iterator>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "lossd/status_macros.h"
#include "protos/wire/enums.h"
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

// An enum option from its number on the wire. The descriptor is looked for where an error names it.
template <class L, class E>
absl::Status ReadWord(const Option<L, E>& option, int number, L& loss) {
  if (number >= 1 && number <= static_cast<int>(std::size(Words<E>::kNames))) {
    loss.*option.member = static_cast<E>(number);
    return absl::OkStatus();
  }
  const FieldDescriptor* const field =
      v1::LossSpec::descriptor()->FindFieldByNumber(LossRow<L>::kNumber);
  return RefuseEnum({LossRow<L>::kName.data(), option.name.data()}, number,
                    *field->message_type()->FindFieldByNumber(option.number)->enum_type());
}

// Precondition: `message` begins with PlainOption.
template <class L, class T>
absl::Status ReadOption(absl::Span<const uint8_t> message, const Option<L, T>& option, L& loss) {
  if constexpr (kIsDouble<T>) {
    uint64_t bits = 0;
    google::protobuf::io::CodedInputStream::ReadLittleEndian64FromArray(message.data() + 1, &bits);
    loss.*option.member = std::bit_cast<double>(bits);
  } else if constexpr (std::is_enum_v<T>) {
    return ReadWord(option, message[1], loss);
  } else if constexpr (kIsPlain<T>) {
    loss.*option.member = static_cast<T>(message[1]);
  }
  return absl::OkStatus();
}

// Precondition: IsPlainLoss.
template <class L>
absl::Status ReadOptions(absl::Span<const uint8_t> message, L& loss) {
  absl::Status status;
  while (!message.empty() && status.ok()) {
    ForEachOption<L>([&]<class T>(const Option<L, T>& option) {
      if (message[0] == OptionTag<T>(option.number) && kIsPlain<T>) {
        status.Update(ReadOption(message, option, loss));
      }
    });
    message.remove_prefix(PlainOption<L>(message));
  }
  return status;
}

template <class... M>
absl::Status ReadOneOf(const google::protobuf::Message& message,
                       std::variant<std::monostate, M...>& value);

// An option of a message that generated code has parsed.
template <class L, class T>
absl::Status ReadParsed(const google::protobuf::Message& message, const Option<L, T>& option,
                        L& loss) {
  if constexpr (kIsOneOf<T>) return ReadOneOf(message, loss.*option.member);
  const FieldDescriptor* const field = message.GetDescriptor()->FindFieldByNumber(option.number);
  const google::protobuf::Reflection* const reflection = message.GetReflection();
  if (field->has_presence() && !reflection->HasField(message, field)) return absl::OkStatus();
  if constexpr (kIsDouble<T>) {
    loss.*option.member = reflection->GetDouble(message, field);
  } else if constexpr (std::is_same_v<T, bool>) {
    loss.*option.member = reflection->GetBool(message, field);
  } else if constexpr (std::is_same_v<T, int32_t> || std::is_same_v<T, std::optional<int32_t>>) {
    loss.*option.member = reflection->GetInt32(message, field);
  } else if constexpr (std::is_enum_v<T>) {
    return ReadWord(option, reflection->GetEnumValue(message, field), loss);
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    const auto& values = reflection->GetRepeatedFieldRef<double>(message, field);
    (loss.*option.member).assign(values.begin(), values.end());
  }
  return absl::OkStatus();
}

template <class M>
absl::StatusOr<M> ReadMessage(const google::protobuf::Message& message) {
  LOSSD_RETURN_IF_ERROR(CheckKnown(message));
  M read;
  absl::Status status;
  ForEachOption<M>([&](const auto& option) {
    if (status.ok()) status = ReadParsed(message, option, read);
  });
  LOSSD_RETURN_IF_ERROR(status);
  return read;
}

template <class... M>
absl::Status ReadOneOf(const google::protobuf::Message& message,
                       std::variant<std::monostate, M...>& value) {
  absl::Status status;
  const auto read = [&]<class One>(const One&) {
    const FieldDescriptor* const field =
        message.GetDescriptor()->FindFieldByNumber(LossRow<One>::kNumber);
    const google::protobuf::Reflection& reflection = *message.GetReflection();
    if (!reflection.HasField(message, field) || !status.ok()) return;
    absl::StatusOr<One> of_type = ReadMessage<One>(reflection.GetMessage(message, field));
    status = of_type.status();
    if (status.ok()) value = *std::move(of_type);
  };
  (read(M()), ...);
  return status;
}

// The loss of a spec that generated code has parsed.
absl::StatusOr<Loss> ReadParsed(const v1::LossSpec& spec) {
  std::optional<Loss> loss = LossOf(spec.loss_case());
  if (!loss) return NoLoss();
  const FieldDescriptor* const field =
      v1::LossSpec::descriptor()->FindFieldByNumber(spec.loss_case());
  const google::protobuf::Message& message = spec.GetReflection()->GetMessage(spec, field);
  LOSSD_RETURN_IF_ERROR(CheckKnown(message));
  absl::Status status;
  std::visit(
      [&]<class L>(L& of_type) {
        ForEachOption<L>([&](const auto& option) {
          if (status.ok()) status = ReadParsed(message, option, of_type);
        });
      },
      *loss);
  LOSSD_RETURN_IF_ERROR(status);
  return *loss;
}

template <class M>
void WriteMessage(const M& of_type, Writer& outer);

template <class T>
void WriteOption(int number, const T& value, const T& usual, Writer& message) {
  if constexpr (kIsOneOf<T>) {
    std::visit(
        [&message]<class M>(const M& of_type) {
          if constexpr (!std::is_same_v<M, std::monostate>) WriteMessage(of_type, message);
        },
        value);
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    message.Packed(number, absl::MakeConstSpan(value));
  } else if constexpr (std::is_same_v<T, std::optional<double>>) {
    if (value) message.SetDouble(number, *value);
  } else if constexpr (kIsOptional<T>) {
    if (value) message.SetNumber(number, *value);
  } else if constexpr (std::is_same_v<T, double>) {
    usual == 0 ? message.Double(number, value) : message.SetDouble(number, value);
  } else {
    const auto whole = static_cast<int64_t>(value);
    usual == T() ? message.Number(number, whole) : message.SetNumber(number, whole);
  }
}

// A loss, or a message of options.
template <class M>
void WriteMessage(const M& of_type, Writer& outer) {
  [[maybe_unused]] static const M kUsual;
  Writer written;
  ForEachOption<M>([&](const auto& option) {
    WriteOption(option.number, of_type.*option.member, kUsual.*option.member, written);
  });
  outer.Message(LossRow<M>::kNumber, std::move(written));
}

}  // namespace

absl::StatusOr<Loss> ReadLoss(const v1::LossSpec& spec, const LargeFields& large, int slot) {
  if (large.all_parsed()) return ReadParsed(spec);
  const Slot& kept = large.slot(slot);
  std::optional<Loss> loss = LossOf(kept.number);
  if (!loss) return NoLoss();
  LOSSD_RETURN_IF_ERROR(
      std::visit([&kept](auto& of_type) { return ReadOptions(kept.small, of_type); }, *loss));
  return *std::move(loss);
}

void WriteLoss(const Loss& loss, Writer& spec) {
  std::visit([&spec](const auto& of_type) { WriteMessage(of_type, spec); }, loss);
}

}  // namespace lossd::wire
