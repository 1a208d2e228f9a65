#include "client/lossctl/report.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

#include "client/lossctl/health_command.h"
#include "client/lossctl/units.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd::lossctl {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kInf = std::numeric_limits<double>::infinity();

LossResult Result() {
  LossResult result;
  result.loss = 0.2529341424452772;
  result.loss_sum = 0.5058682848905544;
  result.weight_sum = 2;
  result.denominator = 2;
  result.position_count = 3;
  result.valid_count = 2;
  result.ignored_count = 1;
  return result;
}

TEST(ToJson, HasTheFieldsOfTheContractInOrder) {
  EXPECT_EQ(Text(ToJson(Result())),
            R"({"loss":0.2529341424452772,"loss_sum":0.5058682848905544,"weight_sum":2.0,)"
            R"("denominator":2.0,"position_count":3,"valid_count":2,"ignored_count":1,)"
            R"("clamped_count":0,"nonfinite_count":0})");
}

TEST(ToJson, HasCorrectCountWhereItWasWanted) {
  LossResult result = Result();
  result.correct_count = 0;
  EXPECT_THAT(Text(ToJson(result)), HasSubstr(R"("nonfinite_count":0,"correct_count":0})"));
}

TEST(ToJson, WritesWhatIsNoNumberAsText) {
  LossResult result = Result();
  result.loss = std::nan("");
  result.loss_sum = kInf;
  result.weight_sum = -kInf;
  EXPECT_THAT(Text(ToJson(result)),
              HasSubstr(R"("loss":"NaN","loss_sum":"Infinity","weight_sum":"-Infinity",)"));
}

TEST(ToJson, NumbersReadBackAsTheSameBits) {
  for (const double value :
       {0.1, 1.0 / 3, 4e-18, 5e-324, 1.7976931348623157e308, 0.30000000000000004, 123456789012.75,
        -0.0, std::nextafter(1.0, 2.0)}) {
    LossResult result;
    result.loss = value;
    const double back = nlohmann::ordered_json::parse(Text(ToJson(result)))["loss"].get<double>();
    EXPECT_EQ(back, value);
    EXPECT_EQ(std::signbit(back), std::signbit(value));
    EXPECT_EQ(std::strtod(ShortestNumber(value).c_str(), nullptr), value);
  }
}

TEST(ToJson, CountsPast53BitsStayExact) {
  LossResult result;
  result.position_count = 9007199254740993;
  EXPECT_THAT(Text(ToJson(result)), HasSubstr("\"position_count\":9007199254740993,"));
}

TEST(ToJson, InfoSurvivesBytesThatAreNoText) {
  ServerInfo info;
  info.version = "1.0\xff";
  info.losses = {"softmax", "nll"};
  info.prediction_dtypes = {DType::kF32, DType::kBF16};
  const std::string text = Text(ToJson(info));
  EXPECT_THAT(text, HasSubstr("\"version\":\"1.0\xef\xbf\xbd\""));
  EXPECT_THAT(text, HasSubstr(R"("losses":["softmax","nll"],"prediction_dtypes":["f32","bf16"])"));
}

TEST(Table, AlignsValues) {
  EXPECT_EQ(Table({{"loss", "0.5"}, {"position_count", "2"}}),
            "loss            0.5\nposition_count  2\n");
}

TEST(Table, ShowsListsAsWords) {
  ServerInfo info;
  info.losses = {"softmax", "nll"};
  info.max_unary_bytes = 1 << 20;
  EXPECT_THAT(Table(Rows(info)), HasSubstr("losses             softmax nll\n"));
  EXPECT_THAT(Table(Rows(info)), HasSubstr("max_unary_bytes    1048576\n"));
}

TEST(RefusalText, HasCodeMessageAndHint) {
  EXPECT_EQ(RefusalText(absl::UnavailableError("connection refused"), "host:1"),
            "lossctl: UNAVAILABLE: connection refused\n"
            "hint: does lossd run at host:1? Try: lossctl health --server=host:1; if it does, do "
            "the --tls flags fit it?\n");
}

TEST(RefusalText, EveryCodeHasAHint) {
  for (int code = 1; code <= 16; ++code) {
    const std::string text =
        RefusalText(absl::Status(static_cast<absl::StatusCode>(code), "why"), "host:1");
    EXPECT_THAT(text, HasSubstr(": why\nhint: ")) << code;
  }
}

TEST(RefusalText, KeepsTheServersBytesFromTheTerminal) {
  const std::string text = RefusalText(absl::InternalError("a\nb\x1b[2J"), "host:1");
  EXPECT_THAT(text, HasSubstr("INTERNAL: a b [2J\n"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(HealthExitCode, IsThatOfGrpcHealthProbe) {
  EXPECT_EQ(ToExitCode(true), 0);
  EXPECT_EQ(ToExitCode(absl::UnavailableError("")), 2);
  EXPECT_EQ(ToExitCode(absl::NotFoundError("")), 3);
  EXPECT_EQ(ToExitCode(absl::UnimplementedError("")), 3);
  EXPECT_EQ(ToExitCode(absl::DeadlineExceededError("")), 3);
  EXPECT_EQ(ToExitCode(false), 4);
}

TEST(Units, HaveThreeDigits) {
  EXPECT_EQ(HumanBytes(0), "0 bytes");
  EXPECT_EQ(HumanBytes(1023), "1023 bytes");
  EXPECT_EQ(HumanBytes(1024), "1.00 KiB");
  EXPECT_EQ(HumanBytes(10.0 * 1024), "10.0 KiB");
  EXPECT_EQ(HumanBytes(1024 * 1024 - 1), "1.00 MiB");
  EXPECT_EQ(HumanBytes(131072000), "125 MiB");
  EXPECT_EQ(HumanCount(999), "999");
  EXPECT_EQ(HumanCount(33.6e6), "33.6 million");
  EXPECT_EQ(HumanTime(absl::Microseconds(1250)), "1.25 ms");
  EXPECT_EQ(HumanTime(absl::Milliseconds(12500)), "12.5 s");
  EXPECT_EQ(HumanTime(absl::Milliseconds(5000500)), "1h23m20s");
}

}  // namespace
}  // namespace lossd::lossctl
