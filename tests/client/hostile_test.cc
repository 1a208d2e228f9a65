// A server that answers what it should not: a typed error, no byte outside the buffers, no loss.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "protos/wire/response_codec.h"
#include "tests/client/doubling_fixture.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using Answer = std::vector<wire::Message>;

wire::Message Garbage(absl::string_view bytes) {
  const auto owned = std::make_shared<std::string>(bytes);
  return {
      ScatteredBytes(ByteSpan(reinterpret_cast<const std::byte*>(owned->data()), owned->size())),
      owned};
}

wire::Message Block(const Box& box, size_t gradient_bytes) {
  const auto owned = std::make_shared<std::vector<std::byte>>(gradient_bytes);
  wire::OutputFields<wire::Payload> outputs;
  outputs.gradient = wire::Payload{*owned, [owned] {}};
  return wire::Message(*wire::EncodeBlockResult(box, {}, outputs));
}

// A block that says of itself that it has so many positions, and as many terms that are no number.
wire::Message Counting(int64_t positions, int64_t nans) {
  PartialSums sums;
  sums.position_count = positions;
  ExactSum::Portable loss_sum;
  loss_sum.nan_terms = nans;
  sums.loss_sum = *ExactSum::FromPortable(loss_sum);
  const auto owned = std::make_shared<std::vector<std::byte>>(Doubling::kPlaneBytes);
  wire::OutputFields<wire::Payload> outputs;
  outputs.gradient = wire::Payload{*owned, [owned] {}};
  return wire::Message(*wire::EncodeBlockResult({0, 1, 0, 5}, sums, outputs));
}

wire::Message Response(int64_t gradient_count) {
  const auto owned = std::make_shared<std::vector<std::byte>>(gradient_count * 4);
  wire::OutputFields<wire::OutgoingTensor> outputs;
  outputs.gradient =
      wire::OutgoingTensor{.shape = {&gradient_count, 1}, .data = {*owned, [owned] {}}};
  return wire::Message(*wire::EncodeComputeResponse({}, outputs));
}

constexpr size_t kPlane = Doubling::kPlaneBytes;

// The answer to a stream of six planes is blocks 0..5 and the summary.
struct HostileCase {
  const char* name;
  std::function<void(Answer&)> meddle;
  const char* words;
};

const HostileCase kStreams[] = {
    {"no_summary", [](Answer& a) { a.pop_back(); }, "without a summary"},
    {"nothing", [](Answer& a) { a.clear(); }, "without a summary"},
    {"summary_first", [](Answer& a) { std::swap(a[0], a[6]); }, "before it had answered"},
    {"summary_early", [](Answer& a) { a.erase(a.begin() + 3); }, "before it had answered"},
    {"summary_twice", [](Answer& a) { a.push_back(a[6]); }, "after its summary"},
    {"block_after_summary", [](Answer& a) { a.push_back(a[0]); }, "after its summary"},
    {"block_twice", [](Answer& a) { a[1] = a[0]; }, "answered already"},
    {"last_block_twice", [](Answer& a) { a.insert(a.begin() + 6, a[5]); }, "answered already"},
    {"endless_blocks", [](Answer& a) { a.insert(a.begin() + 1, 10000, a[0]); }, "answered already"},
    {"two_planes",
     [](Answer& a) {
       a[0] = Block({0, 2, 0, 5}, 2 * kPlane);
     },
     "not sent"},
    {"half_plane",
     [](Answer& a) {
       a[0] = Block({0, 1, 0, 2}, kPlane);
     },
     "not sent"},
    {"outside",
     [](Answer& a) {
       a[0] = Block({6, 1, 0, 5}, kPlane);
     },
     "not sent"},
    {"negative",
     [](Answer& a) {
       a[0] = Block({-1, 1, 0, 5}, kPlane);
     },
     "not sent"},
    {"far_out",
     [](Answer& a) {
       a[0] = Block({INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}, kPlane);
     },
     "not sent"},
    {"long_gradient",
     [](Answer& a) {
       a[0] = Block({0, 1, 0, 5}, kPlane + 4);
     },
     "wanted 80"},
    {"short_gradient",
     [](Answer& a) {
       a[0] = Block({0, 1, 0, 5}, kPlane - 4);
     },
     "wanted 80"},
    {"no_gradient",
     [](Answer& a) {
       a[0] = Block({0, 1, 0, 5}, 0);
     },
     "0 bytes of gradient"},
    {"long_last_gradient",
     [](Answer& a) {
       a[5] = Block({5, 1, 0, 5}, kPlane + 4);
     },
     "wanted 80"},
    {"too_many_positions", [](Answer& a) { a[0] = Counting(INT64_MAX, 0); }, "counted"},
    {"one_position_too_many", [](Answer& a) { a[0] = Counting(6, 0); }, "counted 6 of the 5"},
    {"too_many_terms", [](Answer& a) { a[0] = Counting(5, INT64_MAX); }, "counted"},
    {"garbage", [](Answer& a) { a[0] = Garbage("\xff\xff\xff\xff"); }, ""},
    {"empty_message", [](Answer& a) { a[0] = Garbage(""); }, ""},
    {"length_past_the_end", [](Answer& a) { a[0] = Garbage("\x0a\xff\xff\xff\xff\x07"); }, ""},
};

class HostileStream : public testing::TestWithParam<HostileCase> {};

TEST_P(HostileStream, IsAnInternalError) {
  Doubling world({{.meddle = GetParam().meddle}}, {.block_bytes = Doubling::kPlaneBytes});
  const absl::Status error = world.Stream().status();
  EXPECT_EQ(error.code(), absl::StatusCode::kInternal) << error;
  EXPECT_THAT(std::string(error.message()), HasSubstr(GetParam().words));
  EXPECT_EQ(world.records().size(), 1u);  // and not a reason to try again
}

const HostileCase kUnaries[] = {
    {"garbage", [](Answer& a) { a[0] = Garbage("\x0a\xff\xff\xff\xff\x07"); }, ""},
    {"no_gradient", [](Answer& a) { a[0] = Garbage("\x0a\x00"); }, ""},
    {"long_gradient", [](Answer& a) { a[0] = Response(121); }, "484 bytes of gradient; wanted 480"},
    {"short_gradient", [](Answer& a) { a[0] = Response(119); }, "476 bytes of gradient"},
};

class HostileUnary : public testing::TestWithParam<HostileCase> {};

TEST_P(HostileUnary, IsAnInternalError) {
  Doubling world({{.meddle = GetParam().meddle}});
  const absl::Status error = world.client().Compute({}, world.inputs(), world.into()).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kInternal) << error;
  EXPECT_THAT(std::string(error.message()), HasSubstr(GetParam().words));
}

std::string NameOf(const testing::TestParamInfo<HostileCase>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(All, HostileStream, testing::ValuesIn(kStreams), NameOf);
INSTANTIATE_TEST_SUITE_P(All, HostileUnary, testing::ValuesIn(kUnaries), NameOf);

TEST(Hostile, AnswerToABlockThatIsYetToBeSent) {
  Doubling world({Script{.at_header = {Block({4, 1, 0, 5}, kPlane)}}},
                 {.block_bytes = Doubling::kPlaneBytes});
  const absl::Status error = world.Stream().status();
  EXPECT_EQ(error.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(error.message()), HasSubstr("not sent"));
}

// A bare header was sent, so no answer can be right.
TEST(Hostile, AnswerToAHeaderAlone) {
  Doubling world;
  LossSpec spec;
  spec.class_axis = 7;
  const absl::Status error =
      world.client().Compute(spec, world.inputs(), {}, {.mode = TransferMode::kStream}).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace lossd
