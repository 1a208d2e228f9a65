// What lossctl bench makes of servers' metrics. The pages are the test's.
#include "client/lossctl/bench/server_times.h"

#include <deque>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd::lossctl {
namespace {

using ::testing::HasSubstr;

// Of a server where `calls` calls of Compute took 1 ms each, half of it in the queue, and two of
// GetServerInfo 10 s.
std::string Page(int calls, int in_flight = 0, int started = 1000) {
  const auto histogram = [](const char* name, const char* labels, int count, double seconds) {
    return absl::StrCat(name, "_count{", labels, "} ", count, "\n", name, "_sum{", labels, "} ",
                        seconds, "\n", name, "_bucket{", labels, ",le=\"0.001\"} ", count, "\n",
                        name, "_bucket{", labels, ",le=\"0.01\"} ", count, "\n", name, "_bucket{",
                        labels, ",le=\"+Inf\"} ", count, "\n");
  };
  return absl::StrCat(
      "lossd_build_info{version=\"1\"} 1\nprocess_start_time_seconds ", started,
      "\nlossd_requests_in_flight ", in_flight, "\n",
      histogram("lossd_request_duration_seconds", "method=\"GetServerInfo\"", 2, 20),
      histogram("lossd_request_duration_seconds", "method=\"Compute\"", calls, 1e-3 * calls),
      histogram("lossd_request_queue_seconds", "method=\"Compute\"", calls, 5e-4 * calls),
      histogram("lossd_request_compute_seconds", "method=\"Compute\",loss=\"nll\"", calls / 2,
                2.5e-4 * calls),
      histogram("lossd_request_compute_seconds", "method=\"ComputeStream\",loss=\"softmax\"",
                calls - calls / 2, 2.5e-4 * calls));
}

// Servers whose pages come in this order; the last one stays.
class Servers {
 public:
  void Say(const std::string& server, std::vector<absl::StatusOr<std::string>> pages) {
    pages_[server].assign(pages.begin(), pages.end());
  }
  ServerWatch Watch() {
    std::vector<MetricsAddress> addresses;
    for (const auto& [name, pages] : pages_) addresses.push_back({name, name, 1});
    return {addresses,
            {[this](const MetricsAddress& address) { return Next(pages_.at(address.text)); },
             [this](absl::Duration time) { slept_ += time; }}};
  }
  absl::Duration slept() const { return slept_; }

 private:
  static absl::StatusOr<std::string> Next(std::deque<absl::StatusOr<std::string>>& pages) {
    absl::StatusOr<std::string> page = pages.front();
    if (pages.size() > 1) pages.pop_front();
    return page;
  }

  std::map<std::string, std::deque<absl::StatusOr<std::string>>> pages_;
  absl::Duration slept_;
};

TEST(ServerTimes, AreThoseOfTheCallsInBetween) {
  Servers servers;
  servers.Say("a", {Page(10), Page(110)});
  ServerWatch watch = servers.Watch();
  ASSERT_TRUE(watch.Begin().ok());
  const auto times = watch.End();
  ASSERT_TRUE(times.ok()) << times.status();
  EXPECT_EQ(times->calls(), 100);
  const auto near = [](absl::Duration a, absl::Duration b) {
    return absl::AbsDuration(a - b) < absl::Microseconds(1);
  };
  EXPECT_TRUE(near(times->phases[kWholePhase].mean(), absl::Milliseconds(1)));
  EXPECT_TRUE(near(times->phases[0].mean(), absl::Microseconds(500)));
  EXPECT_EQ(times->phases[1].calls(), 0);  // upload: not on the page
  EXPECT_EQ(times->phases[2].calls(), 100);
  EXPECT_TRUE(near(times->phases[2].mean(), absl::Microseconds(500)));
  EXPECT_EQ(servers.slept(), absl::ZeroDuration());
}

TEST(ServerTimes, OfAllServersTogether) {
  Servers servers;
  servers.Say("a", {Page(0), Page(30)});
  servers.Say("b", {Page(7), Page(17)});
  ServerWatch watch = servers.Watch();
  ASSERT_TRUE(watch.Begin().ok());
  EXPECT_EQ(watch.End()->calls(), 40);
}

TEST(ServerTimes, CallsThatAreBeingCountedAreWaitedFor) {
  Servers servers;
  servers.Say("a", {Page(0, /*in_flight=*/1), Page(1), Page(10, /*in_flight=*/2), Page(12)});
  ServerWatch watch = servers.Watch();
  ASSERT_TRUE(watch.Begin().ok());
  EXPECT_EQ(watch.End()->calls(), 11);
  // Not those of others, who always have some.
  servers.Say("a", {Page(0, /*in_flight=*/1)});
  watch = servers.Watch();
  const absl::Duration before = servers.slept();
  ASSERT_TRUE(watch.Begin().ok());
  EXPECT_EQ(servers.slept() - before, absl::Seconds(1));
}

TEST(ServerTimes, FaultsNameTheServer) {
  Servers servers;
  const struct {
    std::vector<absl::StatusOr<std::string>> pages;
    const char* words;
  } kRows[] = {
      {{absl::UnavailableError("b: nobody")}, "b: nobody"},
      {{"up 1\n"}, "http://b/metrics: metrics, but not of a lossd"},
      {{"<html>\n"}, "http://b/metrics: line 1 is '<html>'"},
      {{absl::StrReplaceAll(Page(1), {{"le=\"0.01\"} 1", "le=\"0.01\"} -1"}})},
       "http://b/metrics: a bucket of"},
      {{absl::StrReplaceAll(Page(1), {{"le=\"0.01\"", "le=\"wide\""}})}, "a bucket of"},
      {{Page(5), Page(9, 0, /*started=*/2000)}, "http://b/metrics: it was started again"},
      {{Page(5), Page(4)}, "it was started again"},
      {{Page(5), absl::UnavailableError("b: gone")}, "b: gone"},
      {{absl::StrReplaceAll(Page(5), {{"le=\"0.01\"", "le=\"0.02\""}})}, "its buckets are not"},
  };
  for (const auto& row : kRows) {
    servers.Say("a", {Page(0), Page(1)});
    servers.Say("b", row.pages);
    ServerWatch watch = servers.Watch();
    absl::Status status = watch.Begin();
    if (status.ok()) status = watch.End().status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(row.words));
  }
}

TEST(BucketedTimes, QuantilesAreThoseOfPrometheus) {
  const double infinity = std::numeric_limits<double>::infinity();
  const BucketedTimes times = {{{1, 10}, {2, 10}, {4, 50}, {infinity, 60}}, 120};
  EXPECT_EQ(times.calls(), 60);
  EXPECT_EQ(times.mean(), absl::Seconds(2));
  EXPECT_EQ(times.Quantile(5. / 60), absl::Milliseconds(500));  // half of the first bucket
  EXPECT_EQ(times.Quantile(10. / 60), absl::Seconds(1));
  EXPECT_EQ(times.Quantile(30. / 60), absl::Seconds(3));  // the empty bucket is passed over
  EXPECT_EQ(times.Quantile(50. / 60), absl::Seconds(4));
  EXPECT_EQ(times.Quantile(.99), absl::Seconds(4));  // above all bounds: the last of them
}

}  // namespace
}  // namespace lossd::lossctl
