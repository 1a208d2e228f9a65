// The rows of the catalogue and of the tensors and outputs against the messages of the contract.

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <string>

#include "gtest/gtest.h"
#include "lossd/losses.h"
#include "lossd/outputs.h"
#include "lossd/tensors.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/message.h"
#include "protos/wire/request_codec.h"
#include "tests/wire/slicing.h"

namespace lossd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// That field `number` of a message has that name.
void ExpectField(const Descriptor& message, int number, std::string_view name,
                 FieldDescriptor::Type type) {
  const FieldDescriptor* const field = message.FindFieldByNumber(number);
  ASSERT_NE(field, nullptr) << message.full_name() << " has no field " << number;
  EXPECT_EQ(field->name(), name) << message.full_name();
  EXPECT_EQ(field->type(), type) << field->full_name();
}

template <class T>
constexpr FieldDescriptor::Type TypeOf() {
  if (std::is_enum_v<T>) return FieldDescriptor::TYPE_ENUM;
  if (std::is_same_v<T, bool>) return FieldDescriptor::TYPE_BOOL;
  if (std::is_same_v<T, int32_t> || std::is_same_v<T, std::optional<int32_t>>)
    return FieldDescriptor::TYPE_INT32;
  return FieldDescriptor::TYPE_DOUBLE;
}

// The words of an enum are its values 1, 2, ..., but for a prefix.
template <class E>
void ExpectWords(const google::protobuf::EnumDescriptor& type) {
  const auto& names = Words<E>::kNames;
  ASSERT_EQ(type.value_count(), static_cast<int>(std::size(names)) + 1) << type.full_name();
  for (int i = 1; i < type.value_count(); ++i) {
    EXPECT_EQ(type.value(i)->number(), i);
    EXPECT_THAT(type.value(i)->name(), testing::EndsWith(std::string(names[i - 1])));
  }
}

template <class L, class T>
void ExpectOption(const Option<L, T>& option, const Descriptor& message) {
  if constexpr (kIsOneOf<T>) {
    ForEachMember<T>([&]<class M>(const M&) {
      ExpectField(message, LossRow<M>::kNumber, LossRow<M>::kName, FieldDescriptor::TYPE_MESSAGE);
      const FieldDescriptor& field = *message.FindFieldByNumber(LossRow<M>::kNumber);
      if constexpr (kIsMessage<T>) {
        EXPECT_EQ(field.containing_oneof(), nullptr);
        EXPECT_EQ(field.name(), option.name);
      } else {
        EXPECT_EQ(field.containing_oneof()->name(), option.name);
      }
      ForEachOption<M>([&](const auto& inner) { ExpectOption(inner, *field.message_type()); });
    });
    return;
  } else {
    SCOPED_TRACE(testing::Message() << LossRow<L>::kName << "." << option.name);
    ExpectField(message, option.number, option.name, TypeOf<T>());
    const FieldDescriptor& field = *message.FindFieldByNumber(option.number);
    EXPECT_LT(option.number, 16);  // a tag of one byte
    constexpr bool kList = std::is_same_v<T, std::vector<double>>;
    EXPECT_EQ(field.is_repeated(), kList);
    // A default that proto3 does not have takes a field that knows whether it is set.
    constexpr bool kOptional = kIsOptional<T>;
    EXPECT_EQ(field.has_presence(), !kList && (kOptional || option.default_value() != T()));
    if constexpr (std::is_enum_v<T>) {
      ExpectWords<T>(*field.enum_type());
    } else if constexpr (std::is_same_v<T, double> || std::is_same_v<T, int32_t>) {
      EXPECT_TRUE(option.range.Has(option.default_value()));
    }
  }
}

template <class T>
constexpr size_t MembersOf() {
  size_t count = 0;
  if constexpr (kIsOneOf<T>) ForEachMember<T>([&count](const auto&) { ++count; });
  return count;
}

TEST(LossRows, AreTheMessages) {
  const auto* const losses = v1::LossSpec::descriptor()->FindOneofByName("loss");
  EXPECT_EQ(losses->field_count(), static_cast<int>(kLossCount));
  ForEachLoss([]<class L>(const L&) {
    using Row = LossRow<L>;
    ExpectField(*v1::LossSpec::descriptor(), Row::kNumber, Row::kName,
                FieldDescriptor::TYPE_MESSAGE);
    const FieldDescriptor* const field =
        v1::LossSpec::descriptor()->FindFieldByNumber(Row::kNumber);
    EXPECT_EQ(field->containing_oneof()->name(), "loss");
    const Descriptor& message = *field->message_type();
    int fields = 0;
    ForEachOption<L>([&fields]<class T>(const Option<L, T>&) {
      fields += kIsOneOf<T> ? static_cast<int>(MembersOf<T>()) : 1;
    });
    EXPECT_EQ(message.field_count(), fields);
    ForEachOption<L>([&message](const auto& option) { ExpectOption(option, message); });
  });
}

TEST(TensorRows, AreTheMessages) {
  const Descriptor& request = *v1::ComputeRequest::descriptor();
  EXPECT_EQ(request.field_count(), static_cast<int>(kTensorCount) + 1);  // and the spec
  const Descriptor& block = *v1::PredictionBlock::descriptor();
  int in_blocks = 0;
  for (const TensorRow<TensorDesc>& row : kTensorRows<TensorDesc>) {
    ExpectField(request, row.number(), row.name, FieldDescriptor::TYPE_MESSAGE);
    EXPECT_EQ(row.in_block != nullptr, row.block_field != 0) << row.name;
    if (row.block_field == 0) continue;
    ExpectField(block, row.block_field, row.name, FieldDescriptor::TYPE_BYTES);
    ++in_blocks;
  }
  EXPECT_EQ(block.field_count(), in_blocks + 1);  // and the box
  const auto& kinds = *v1::SideData::Kind_descriptor();
  EXPECT_EQ(kinds.value_count(), static_cast<int>(std::size(kSideKinds)) + 1);
  for (const SideKind kind : kSideKinds) {
    EXPECT_NE(kinds.FindValueByNumber(static_cast<int>(kind)), nullptr);
  }
}

TEST(OutputRows, AreTheMessages) {
  const auto regions = std::ranges::count_if(kOutputRows<bool>, &wire::MayGoToRegion);
  EXPECT_EQ(v1::Outputs::descriptor()->field_count(), static_cast<int>(kOutputCount + regions));
  for (const OutputRow<bool>& row : kOutputRows<bool>) {
    ExpectField(*v1::Outputs::descriptor(), row.outputs_field, row.name,
                FieldDescriptor::TYPE_BOOL);
    ExpectField(*v1::ComputeResponse::descriptor(), row.response_field, row.name,
                FieldDescriptor::TYPE_MESSAGE);
    ExpectField(*v1::BlockResult::descriptor(), row.block_field, row.name,
                FieldDescriptor::TYPE_BYTES);
  }
}

// As protobuf has it: of a field that is there twice the last one counts, and the first may be
// anything.
TEST(LossCodec, OfTwoOptionsTheLastCounts) {
  v1::ComputeRequest request;
  request.mutable_class_indices()->set_dtype(v1::DTYPE_I64);
  request.mutable_class_indices()->add_shape(0);
  request.mutable_predictions()->set_dtype(v1::DTYPE_F32);
  request.mutable_predictions()->add_shape(0);
  // spec { multi_margin { aggregate: 119 aggregate: MAX } }
  const std::string bytes =
      std::string("\x0a\x07\xfa\x01\x04\x18\x77\x18\x02", 9) + request.SerializeAsString();
  const auto decoded = wire::DecodeComputeRequest(wire::Message(wire_test::InOneSlice(bytes)));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const auto* const loss = std::get_if<MultiMarginLoss>(&decoded->spec.loss);
  ASSERT_NE(loss, nullptr);
  EXPECT_EQ(loss->aggregate, MarginAggregate::kMax);
}

}  // namespace
}  // namespace lossd
