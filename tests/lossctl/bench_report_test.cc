// What lossctl bench says, to people and to programs.
#include "client/lossctl/bench/bench_report.h"

#include <algorithm>
#include <limits>
#include <string>

#include "absl/strings/cord.h"
#include "client/transport/transport.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd::lossctl {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using Json = nlohmann::ordered_json;

// 1000 right calls of 1..1000 us in two seconds.
BenchReport Report() {
  BenchReport report{.server = "host:1", .plan = *ReadBench({})};
  report.info.version = "1.2.3";
  report.info.simd_target = "AVX3";
  report.info.threads = 8;
  report.elements = 256'000;
  report.sent_bytes = 1'024'000 + 2048;
  report.received_bytes = 1'024'000;
  for (int i = 1; i <= 1000; ++i) report.tally.Add({}, absl::Microseconds(i));
  report.tally.elapsed = absl::Seconds(2);
  return report;
}

TEST(BenchReport, TellsPeopleWhatTheyAsk) {
  EXPECT_THAT(
      BenchHead(Report()) + BenchText(Report()),
      AllOf(HasSubstr("server        host:1, lossd 1.2.3, AVX3, 8 threads"),
            HasSubstr("softmax f32 256x1000, 1002 KiB there, 1000 KiB back, auto"),
            HasSubstr("1 caller, each when it has its answer, for 10 s"),
            HasSubstr("1,000 right, 0 wrong, 0 failed, in 2 s"),
            HasSubstr("500 calls/s, 128 million elements/s, 489 MiB/s there, 488 MiB/s back"),
            HasSubstr("  p50         "), HasSubstr("  p99.9       "), Not(HasSubstr("p99.99 ")),
            HasSubstr("  max         1.00 ms\n"), HasSubstr("calls by time, up to\n"),
            Not(HasSubstr("failures"))));
}

TEST(BenchReport, TellsProgramsTheSame) {
  const Json json = BenchJson(Report());
  EXPECT_EQ(json["calls"]["right"], 1000);
  EXPECT_EQ(json["throughput"]["calls_per_second"], 500);
  EXPECT_EQ(json["throughput"]["elements_per_second"], 128e6);
  EXPECT_EQ(json["throughput"]["sent_bytes_per_second"], 500. * 1'026'048);
  EXPECT_EQ(json["throughput"]["received_bytes_per_second"], 512e6);
  EXPECT_NEAR(json["latency_seconds"]["p50"], 500e-6, 4e-6);
  EXPECT_NEAR(json["latency_seconds"]["p99"], 990e-6, 8e-6);
  EXPECT_EQ(json["latency_seconds"]["max"], 1e-3);
  int64_t counted = 0;
  for (const Json& bar : json["histogram_seconds"]) counted += bar["count"].get<int64_t>();
  EXPECT_EQ(counted, 1000);
  EXPECT_TRUE(json["load"]["rate"].is_null());
  EXPECT_EQ(json["well"], true);
}

TEST(BenchReport, FailuresAreGroupedAndDecide) {
  BenchReport report = Report();
  for (int i = 0; i < 3; ++i) report.tally.Add({absl::UnavailableError("no\x1b[31m")}, {});
  EXPECT_FALSE(report.well());
  EXPECT_THAT(BenchText(report),
              AllOf(HasSubstr("3 failed"), HasSubstr("  3 x UNAVAILABLE: no [31m")));
  const Json json = BenchJson(report);
  EXPECT_EQ(json["failures"][0]["code"], "UNAVAILABLE");
  EXPECT_EQ(json["failures"][0]["count"], 3);
  EXPECT_EQ(json["failures"][0]["reason"], "");
  absl::Status full = absl::UnavailableError("no room");
  full.SetPayload(absl::string_view(kReasonPayload.data(), kReasonPayload.size()),
                  absl::Cord("QUEUE_\x1b"));
  BenchReport turned_away = Report();
  turned_away.tally.Add({full}, {});
  EXPECT_THAT(BenchText(turned_away), HasSubstr("  1 x UNAVAILABLE (QUEUE_ ): no room\n"));
  EXPECT_EQ(BenchJson(turned_away)["failures"][0]["reason"], "QUEUE_\x1b");
  report.plan.allowed_failures = 3;
  EXPECT_TRUE(report.well());
  report.tally.not_begun = 1;
  EXPECT_FALSE(report.well());
  EXPECT_THAT(BenchText(report), HasSubstr("1 not begun"));
}

TEST(BenchReport, NoWrongAnswerIsAllowed) {
  BenchReport report = Report();
  report.plan.allowed_failures = 1'000'000;
  EXPECT_TRUE(report.well());
  report.tally.Add({.wrong = true}, {});
  EXPECT_FALSE(report.well());
  BenchReport nothing = Report();
  nothing.tally = {};
  EXPECT_FALSE(nothing.well());
  EXPECT_THAT(BenchText(nothing), Not(HasSubstr("latency")));
}

TEST(BenchReport, TheServersShareIsToldWhereItWasAskedFor) {
  BenchReport report = Report();
  EXPECT_THAT(BenchText(report), Not(HasSubstr("server side")));
  EXPECT_TRUE(BenchJson(report)["server_side"].is_null());
  ServerTimes times;
  const double infinity = std::numeric_limits<double>::infinity();
  times.phases[0] = {{{1e-3, 1000}, {infinity, 1000}}, .25};
  times.phases[kWholePhase] = {{{1e-3, 0}, {2e-3, 1234}, {infinity, 1234}}, 1.234};
  report.server_times = times;
  EXPECT_TRUE(report.well());
  EXPECT_THAT(BenchText(report),
              AllOf(HasSubstr("server side   1,234 calls by its metrics\n"
                              "  queue       mean 250 us, p50 ~500 us, p99 ~990 us\n"
                              "  upload      not seen\n"),
                    HasSubstr("  whole       mean 1.00 ms, p50 ~1.50 ms, p99 ~1.99 ms\n")));
  const Json json = BenchJson(report)["server_side"];
  EXPECT_EQ(json["calls"], 1234);
  EXPECT_EQ(json["queue_seconds"]["calls"], 1000);
  EXPECT_EQ(json["queue_seconds"]["mean"], 250e-6);
  EXPECT_NEAR(json["whole_seconds"]["p99"], 1.99e-3, 1e-9);
  EXPECT_EQ(json["upload_seconds"], Json({{"calls", 0}}));
}

TEST(BenchReport, AServersShareThatIsNotKnownIsAFault) {
  BenchReport report = Report();
  report.server_times = absl::FailedPreconditionError("http://a:1/metrics: started\x1b again");
  EXPECT_FALSE(report.well());
  EXPECT_THAT(BenchText(report),
              HasSubstr("server side   not known: http://a:1/metrics: started  again\n"));
  EXPECT_EQ(BenchJson(report)["server_side"]["error"], "http://a:1/metrics: started\x1b again");
}

TEST(BenchReport, APictureFitsAScreenWhateverTheTimes) {
  Histogram times;
  EXPECT_EQ(Picture(times), "");
  for (int64_t ns = 1; ns < (int64_t{1} << 60); ns *= 3) times.Record(absl::Nanoseconds(ns));
  for (int i = 0; i < 1000; ++i) times.Record(absl::Milliseconds(7));
  const std::string picture = Picture(times);
  EXPECT_LE(std::count(picture.begin(), picture.end(), '\n'), 18);
  EXPECT_THAT(picture, HasSubstr(std::string(50, '#')));
  size_t widest = 0;
  for (size_t at = 0; at < picture.size();) {
    const size_t end = picture.find('\n', at);
    widest = std::max(widest, end - at);
    at = end + 1;
  }
  EXPECT_LE(widest, 80u);
}

TEST(BenchReport, ProgressOfTimeOrOfCalls) {
  Tally tally;
  for (int i = 0; i < 100; ++i) tally.Add({}, absl::Milliseconds(1));
  tally.elapsed = absl::Milliseconds(2500);
  EXPECT_EQ(
      BenchProgress({.duration = absl::Seconds(10)}, tally),
      "[#####---------------]  2.5 s of 10 s  40 calls/s  p50 1.00 ms  p99 1.00 ms  0 wrong, 0 "
      "failed");
  EXPECT_THAT(BenchProgress({.duration = absl::Seconds(10), .calls = 200}, tally),
              HasSubstr("[##########----------]"));
}

}  // namespace
}  // namespace lossd::lossctl
