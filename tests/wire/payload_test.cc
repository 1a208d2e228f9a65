// Large fields are neither copied on the way in nor on the way out, and whoever lent bytes is told
// once when they are no longer needed.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "protos/wire/request_codec.h"
#include "protos/wire/response_codec.h"
#include "protos/wire/writer.h"
#include "tests/support/random.h"
#include "tests/wire/kinds.h"
#include "tests/wire/samples.h"
#include "tests/wire/slicing.h"

namespace lossd::wire_test {
namespace {

using oracle::Random;

bool Within(ByteSpan piece, const ScatteredBytes& message) {
  for (const ByteSpan slice : message.pieces()) {
    if (std::greater_equal<>()(piece.data(), slice.data()) &&
        std::less_equal<>()(piece.data() + piece.size(), slice.data() + slice.size())) {
      return true;
    }
  }
  return false;
}

class InPlace : public testing::TestWithParam<Kind> {};

TEST_P(InPlace, LargeFieldsStayInTheSlices) {
  Random random(11);
  int64_t pieces = 0;
  for (int i = 0; i < 500; ++i) {
    SCOPED_TRACE(testing::Message() << "LOSSD_TEST_SEED=" << oracle::TestSeed());
    const wire::Message message = RandomlySliced(GetParam().sample(random), random);
    const absl::StatusOr<Recoded> decoded = GetParam().recode(message);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    if (decoded->storage == nullptr) return;  // a summary holds no bytes
    ASSERT_EQ(decoded->storage, message.storage());
    for (const ScatteredBytes& field : decoded->fields) {
      for (const ByteSpan piece : field.pieces()) {
        ASSERT_TRUE(Within(piece, message.bytes()));
        ++pieces;
      }
    }
  }
  if (GetParam().name != "Header") {
    EXPECT_GT(pieces, 500);
  }
}

INSTANTIATE_TEST_SUITE_P(AllKinds, InPlace, testing::ValuesIn(AllKinds()),
                         [](const auto& info) { return info.param.name; });

TEST(InPlace, BytesOutliveTheMessage) {
  Random random(12);
  v1::ComputeStreamRequest part = SampleBlock(random);
  part.mutable_block()->set_predictions(SampleBytes(random, 5000));
  for (const bool unusual : {false, true}) {
    std::string bytes = part.SerializeAsString();
    if (unusual) bytes += bytes;  // merges to the same
    auto message = std::make_unique<wire::Message>(Sliced(bytes, 700, random));
    const auto decoded = wire::DecodeStreamRequest(*message);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    const auto& block = std::get<wire::DecodedBlock>(*decoded);
    EXPECT_EQ(block.storage != message->storage(), unusual);
    message.reset();
    EXPECT_EQ(Joined(block.predictions), part.block().predictions());
  }
}

// Lends bytes and counts how often they come back.
class Lender {
 public:
  explicit Lender(int64_t size) : bytes_(size, 'x') {}

  wire::Payload Lend() {
    ++lent_;
    return {ByteSpan(reinterpret_cast<const std::byte*>(bytes_.data()), bytes_.size()),
            [this] { ++returned_; }};
  }
  // A size that nobody has; the bytes are never touched.
  wire::Payload LendTooMuch() {
    ++lent_;
    return {ByteSpan(reinterpret_cast<const std::byte*>(bytes_.data()), size_t{1} << 31),
            [this] { ++returned_; }};
  }

  bool Holds(const uint8_t* byte) const {
    const auto* begin = reinterpret_cast<const uint8_t*>(bytes_.data());
    return std::greater_equal<>()(byte, begin) && std::less<>()(byte, begin + bytes_.size());
  }
  int lent() const { return lent_; }
  int returned() const { return returned_; }

 private:
  std::string bytes_;
  int lent_ = 0;
  int returned_ = 0;
};

// Every encoder that lends, with as many payloads as it takes.
struct Encoder {
  const char* name;
  absl::StatusOr<grpc::ByteBuffer> (*encode)(Lender&, wire::Payload first);
};

wire::OutgoingTensor Tensor(wire::Payload data) { return {.data = std::move(data)}; }

const Encoder kEncoders[] = {
    {"ComputeRequest",
     [](Lender& lender, wire::Payload first) {
       return wire::EncodeComputeRequest({}, {.predictions = Tensor(std::move(first)),
                                              .targets = Tensor(lender.Lend()),
                                              .class_weights = Tensor(lender.Lend()),
                                              .position_weights = Tensor(lender.Lend()),
                                              .upstream_gradient = Tensor(lender.Lend())});
     }},
    {"SideData",
     [](Lender&, wire::Payload first) {
       return wire::EncodeSideData(wire::SideKind::kTargets, 8, std::move(first));
     }},
    {"Block",
     [](Lender& lender, wire::Payload first) {
       std::vector<wire::Payload> predictions;
       predictions.push_back(std::move(first));
       predictions.push_back(lender.Lend());
       return wire::EncodeBlock({1, 2, 3, 4},
                                {.predictions = std::move(predictions),
                                 .class_probabilities = {lender.Lend(), lender.Lend()}});
     }},
    {"ComputeResponse",
     [](Lender& lender, wire::Payload first) {
       return wire::EncodeComputeResponse({}, {.gradient = Tensor(std::move(first)),
                                               .position_losses = Tensor(lender.Lend()),
                                               .log_sum_exp = Tensor(lender.Lend()),
                                               .argmax_hits = Tensor(lender.Lend()),
                                               .probabilities = Tensor(lender.Lend())});
     }},
    {"BlockResult",
     [](Lender& lender, wire::Payload first) {
       return wire::EncodeBlockResult({1, 2, 3, 4}, {},
                                      {.gradient = std::move(first),
                                       .position_losses = lender.Lend(),
                                       .log_sum_exp = lender.Lend(),
                                       .argmax_hits = lender.Lend(),
                                       .probabilities = lender.Lend()});
     }},
};

class Release : public testing::TestWithParam<Encoder> {};

TEST_P(Release, RunsAtOnceWhereBytesAreCopied) {
  for (const int64_t size : {int64_t{1}, int64_t{24}, static_cast<int64_t>(wire::kCopiedBytes)}) {
    Lender lender(size);
    auto buffer = GetParam().encode(lender, lender.Lend());
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_EQ(lender.returned(), lender.lent()) << size;
    EXPECT_GE(buffer->Length(), size * lender.lent());
  }
}

TEST_P(Release, RunsOnceWhenTheLastReferenceGoes) {
  for (const int64_t size : {static_cast<int64_t>(wire::kCopiedBytes) + 1, int64_t{100000}}) {
    Lender lender(size);
    {
      grpc::ByteBuffer copy;
      {
        auto buffer = GetParam().encode(lender, lender.Lend());
        ASSERT_TRUE(buffer.ok()) << buffer.status();
        copy = *buffer;
      }
      EXPECT_EQ(lender.returned(), 0) << size;
      std::vector<grpc::Slice> slices;
      ASSERT_TRUE(copy.Dump(&slices).ok());
      copy.Clear();
      int in_place = 0;
      for (const grpc::Slice& slice : slices) in_place += lender.Holds(slice.begin());
      EXPECT_EQ(in_place, lender.lent()) << size;
      EXPECT_EQ(lender.returned(), 0) << size;
    }
    EXPECT_EQ(lender.returned(), lender.lent()) << size;
  }
}

TEST_P(Release, RunsOnceForEmptyPayloads) {
  Lender lender(0);
  auto buffer = GetParam().encode(lender, lender.Lend());
  ASSERT_TRUE(buffer.ok()) << buffer.status();
  buffer->Clear();
  EXPECT_EQ(lender.returned(), lender.lent());
}

TEST_P(Release, RunsOnceWhereTheMessageIsTooLarge) {
  Lender lender(10);
  const auto buffer = GetParam().encode(lender, lender.LendTooMuch());
  EXPECT_EQ(buffer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(lender.returned(), lender.lent());
}

INSTANTIATE_TEST_SUITE_P(Encoders, Release, testing::ValuesIn(kEncoders),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Message, SharesTheSlicesOfTheBuffer) {
  Random random(13);
  std::vector<grpc::Slice> slices;
  for (const int64_t size : {100, 0, 5, 23, 24, 70000}) {
    slices.emplace_back(SampleBytes(random, size));
  }
  const grpc::ByteBuffer buffer(slices.data(), slices.size());
  const wire::Message message(buffer);
  const auto pieces = message.bytes().pieces();
  ASSERT_EQ(pieces.size(), 5u);  // the empty one is dropped
  EXPECT_EQ(static_cast<const void*>(pieces[0].data()), slices[0].begin());
  EXPECT_EQ(static_cast<const void*>(pieces[4].data()), slices[5].begin());
  const wire::Message copy = message;
  EXPECT_EQ(copy.bytes().pieces()[1].data(), pieces[1].data());
}

TEST(Message, JoinsCrumbs) {
  Random random(14);
  const std::string bytes = SampleBytes(random, 100000);
  EXPECT_EQ(wire::Message(Sliced(bytes, 3, random)).bytes().pieces().size(), 1u);
  EXPECT_EQ(Joined(wire::Message(Sliced(bytes, 3, random)).bytes()), bytes);
  EXPECT_GT(wire::Message(Sliced(bytes.substr(0, 900), 1, random)).bytes().pieces().size(), 800u);
}

TEST(Message, OfNothing) {
  EXPECT_EQ(wire::Message().bytes().size(), 0);
  EXPECT_EQ(wire::Message(grpc::ByteBuffer()).bytes().size(), 0);
  EXPECT_FALSE(wire::DecodeComputeRequest(wire::Message()).ok());
  EXPECT_FALSE(wire::DecodeStreamRequest(wire::Message()).ok());
  EXPECT_FALSE(wire::DecodeComputeResponse(wire::Message()).ok());
  EXPECT_FALSE(wire::DecodeStreamResponse(wire::Message()).ok());
}

}  // namespace
}  // namespace lossd::wire_test
