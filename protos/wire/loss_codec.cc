#include "protos/wire/loss_codec.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"

namespace lossd::wire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

using Bytes = absl::InlinedVector<uint8_t, 64>;

Bytes Flat(const ScatteredBytes& bytes) {
  Bytes flat(bytes.size());
  bytes.CopyTo(0, bytes.size(), reinterpret_cast<std::byte*>(flat.data()));
  return flat;
}

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

// Options as encoders write them. False: there is something else, for generated code to judge.
template <class L>
bool ReadOptions(absl::Span<const uint8_t> bytes, L& loss) {
  constexpr size_t kOptionBytes = 1 + sizeof(double);
  for (; !bytes.empty(); bytes.remove_prefix(kOptionBytes)) {
    const auto& options = LossRow<L>::kOptions;
    const auto* const option =
        std::find_if(options.begin(), options.end(), [&](const Option<L>& o) {
          return bytes[0] == WireFormatLite::MakeTag(o.number, WireFormatLite::WIRETYPE_FIXED64);
        });
    if (option == options.end() || bytes.size() < kOptionBytes) return false;
    uint64_t bits = 0;
    CodedInputStream::ReadLittleEndian64FromArray(bytes.data() + 1, &bits);
    loss.*option->member = std::bit_cast<double>(bits);
  }
  return true;
}

// The loss of a spec that generated code has parsed.
absl::StatusOr<Loss> ReadParsed(const v1::LossSpec& spec) {
  std::optional<Loss> loss = LossOf(spec.loss_case());
  if (!loss) return NoLoss();
  const FieldDescriptor* const field =
      v1::LossSpec::descriptor()->FindFieldByNumber(spec.loss_case());
  const google::protobuf::Message& message = spec.GetReflection()->GetMessage(spec, field);
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

// A message that generated code has to parse: the loss as field `number` of a spec.
absl::StatusOr<Loss> Parse(int number, const Bytes& bytes) {
  std::string text;
  {
    google::protobuf::io::StringOutputStream stream(&text);
    google::protobuf::io::CodedOutputStream out(&stream);
    WireFormatLite::WriteTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED, &out);
    out.WriteVarint32(static_cast<uint32_t>(bytes.size()));
    out.WriteRaw(bytes.data(), static_cast<int>(bytes.size()));
  }
  v1::LossSpec spec;
  if (spec.ParseFromString(text)) return ReadParsed(spec);
  return absl::InvalidArgumentError(
      absl::StrCat("spec.loss of ", bytes.size(), " bytes is not valid protobuf"));
}

}  // namespace

absl::StatusOr<Loss> ReadLoss(const v1::LossSpec& spec, const LargeFields& large, int slot) {
  const int number = large.number(slot);
  if (number == 0) return ReadParsed(spec);
  Loss loss = *LossOf(number);
  const Bytes bytes = Flat(large.bytes(slot));
  const bool plain =
      std::visit([&bytes](auto& of_type) { return ReadOptions(bytes, of_type); }, loss);
  if (!plain) return Parse(number, bytes);
  return loss;
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
