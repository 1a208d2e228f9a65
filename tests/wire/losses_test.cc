// The rows of the catalogue and of the tensors and outputs against the messages of the contract.

#include <google/protobuf/descriptor.h>

#include <string>

#include "gtest/gtest.h"
#include "lossd/losses.h"
#include "lossd/outputs.h"
#include "lossd/tensors.h"
#include "lossd/v1/loss.pb.h"

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
    EXPECT_EQ(message.field_count(), static_cast<int>(Row::kOptions.size()));
    for (const Option<L>& option : Row::kOptions) {
      ExpectField(message, option.number, option.name, FieldDescriptor::TYPE_DOUBLE);
      // A default that is not 0 takes a field that knows whether it is set.
      EXPECT_EQ(message.FindFieldByNumber(option.number)->has_presence(),
                option.default_value() != 0)
          << Row::kName << "." << option.name;
      EXPECT_TRUE(option.range.Has(option.default_value())) << Row::kName << "." << option.name;
    }
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
  EXPECT_EQ(kinds.value_count(), kSideKinds + 1);
}

TEST(OutputRows, AreTheMessages) {
  EXPECT_EQ(v1::Outputs::descriptor()->field_count(), static_cast<int>(kOutputCount));
  for (const OutputRow<bool>& row : kOutputRows<bool>) {
    ExpectField(*v1::Outputs::descriptor(), row.outputs_field, row.name,
                FieldDescriptor::TYPE_BOOL);
    ExpectField(*v1::ComputeResponse::descriptor(), row.response_field, row.name,
                FieldDescriptor::TYPE_MESSAGE);
    ExpectField(*v1::BlockResult::descriptor(), row.block_field, row.name,
                FieldDescriptor::TYPE_BYTES);
  }
}

}  // namespace
}  // namespace lossd
