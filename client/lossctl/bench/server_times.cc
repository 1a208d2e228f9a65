#include "client/lossctl/bench/server_times.h"

#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/lossctl/bench/exposition.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(5);
constexpr absl::Duration kNap = absl::Milliseconds(50);
constexpr int kNaps = 20;

// Doubles count exactly up to here.
constexpr double kMostCalls = 9007199254740992;

bool IsOfALoss(const Sample& sample) {
  const auto method = sample.labels.find("method");
  return method != sample.labels.end() &&
         (method->second == "Compute" || method->second == "ComputeStream");
}

// Adds a sample that belongs to the histogram of that name; others have nothing to do with it.
absl::Status AddTo(BucketedTimes& times, const char* metric, const Sample& sample) {
  absl::string_view part = sample.name;
  if (!absl::ConsumePrefix(&part, metric) || !IsOfALoss(sample)) return absl::OkStatus();
  if (part == "_sum") times.seconds += sample.value;
  if (part != "_bucket") return absl::OkStatus();
  const auto bound = sample.labels.find("le");
  double up_to = 0;
  if (bound == sample.labels.end() || !absl::SimpleAtod(bound->second, &up_to) ||
      !(sample.value >= 0 && sample.value <= kMostCalls)) {
    return absl::FailedPreconditionError(
        absl::StrCat("a bucket of ", metric, " without a bound or a count"));
  }
  times.up_to[up_to] += static_cast<int64_t>(sample.value);
  return absl::OkStatus();
}

// False: something has become less.
bool Subtract(const BucketedTimes& before, BucketedTimes& times) {
  for (const auto& [bound, calls] : before.up_to) {
    const auto now = times.up_to.find(bound);
    if (now == times.up_to.end() || now->second < calls) return false;
    now->second -= calls;
  }
  times.seconds -= before.seconds;
  return true;
}

// False: their buckets are not the same.
bool Merge(const BucketedTimes& other, BucketedTimes& times) {
  if (other.up_to.empty()) return true;
  if (times.up_to.empty()) {
    times = other;
    return true;
  }
  if (times.up_to.size() != other.up_to.size()) return false;
  for (const auto& [bound, calls] : other.up_to) {
    const auto same = times.up_to.find(bound);
    if (same == times.up_to.end()) return false;
    same->second += calls;
  }
  times.seconds += other.seconds;
  return true;
}

absl::Status Of(const MetricsAddress& server, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat("http://", server.text, "/metrics: ", status.message()));
}

}  // namespace

absl::Duration BucketedTimes::mean() const {
  return absl::Seconds(seconds / static_cast<double>(calls()));
}

absl::Duration BucketedTimes::Quantile(double share) const {
  const double rank = share * static_cast<double>(calls());
  double above = 0;  // the bucket's bounds and what is below it
  double below = 0;
  for (const auto& [bound, counted] : up_to) {
    const auto calls_up_to = static_cast<double>(counted);
    if (calls_up_to < rank) {
      above = bound;
      below = calls_up_to;
      continue;
    }
    if (std::isinf(bound)) break;
    return absl::Seconds(above + (bound - above) * (rank - below) / (calls_up_to - below));
  }
  return absl::Seconds(above);
}

ServerWatch::World ServerWatch::RealWorld() {
  return {[](const MetricsAddress& address) { return ReadMetricsPage(address, kPatience); },
          [](absl::Duration time) { absl::SleepFor(time); }};
}

absl::StatusOr<ServerWatch::Counts> ServerWatch::CountsOf(const std::string& page) {
  LOSSD_ASSIGN_OR_RETURN(const std::vector<Sample> samples, ParseExposition(page));
  Counts counts;
  bool lossd = false;
  for (const Sample& sample : samples) {
    if (sample.name == "lossd_build_info") lossd = true;
    if (sample.name == "process_start_time_seconds") counts.started = sample.value;
    if (sample.name == "lossd_requests_in_flight") counts.idle = sample.value == 0;
    for (size_t i = 0; i < counts.times.phases.size(); ++i) {
      LOSSD_RETURN_IF_ERROR(AddTo(counts.times.phases[i], kServerPhases[i].metric, sample));
    }
  }
  if (!lossd) return absl::FailedPreconditionError("metrics, but not of a lossd");
  return counts;
}

absl::StatusOr<ServerWatch::Counts> ServerWatch::Settled(const MetricsAddress& server) const {
  for (int naps = 0;; ++naps) {
    LOSSD_ASSIGN_OR_RETURN(const std::string page, world_.read(server));
    absl::StatusOr<Counts> counts = CountsOf(page);
    if (!counts.ok()) return Of(server, absl::FailedPreconditionError(counts.status().message()));
    if (counts->idle || naps == kNaps) return counts;
    world_.sleep(kNap);
  }
}

absl::Status ServerWatch::Begin() {
  before_.clear();
  for (const MetricsAddress& server : servers_) {
    LOSSD_ASSIGN_OR_RETURN(Counts counts, Settled(server));
    before_.push_back(std::move(counts));
  }
  return absl::OkStatus();
}

absl::StatusOr<ServerTimes> ServerWatch::End() const {
  ServerTimes all;
  for (size_t i = 0; i < servers_.size(); ++i) {
    LOSSD_ASSIGN_OR_RETURN(Counts counts, Settled(servers_[i]));
    bool same = counts.started == before_[i].started;
    bool alike = true;
    for (size_t phase = 0; phase < all.phases.size(); ++phase) {
      BucketedTimes& times = counts.times.phases[phase];
      same = same && Subtract(before_[i].times.phases[phase], times);
      alike = alike && Merge(times, all.phases[phase]);
    }
    if (!same) {
      return Of(servers_[i], absl::FailedPreconditionError("it was started again meanwhile"));
    }
    if (!alike) {
      return Of(servers_[i], absl::FailedPreconditionError("its buckets are not those of others"));
    }
  }
  return all;
}

}  // namespace lossd::lossctl
