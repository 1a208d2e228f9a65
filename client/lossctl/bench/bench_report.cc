#include "client/lossctl/bench/bench_report.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/lossctl/report.h"
#include "client/lossctl/units.h"

namespace lossd::lossctl {
namespace {

using Json = nlohmann::ordered_json;

struct Percentile {
  const char* name;
  double share;
};
constexpr Percentile kPercentiles[] = {
    {"p50", .5}, {"p75", .75}, {"p90", .9}, {"p99", .99}, {"p99.9", .999}, {"p99.99", .9999},
};

constexpr size_t kMostBars = 16;
constexpr int kBarWidth = 50;

std::string Count(int64_t count) {
  const std::string digits = std::to_string(count);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

double PerSecond(int64_t count, absl::Duration time) {
  return static_cast<double>(count) / std::max(absl::ToDoubleSeconds(time), 1e-9);
}

// The two parts of the table, printed one after the other, have their columns in line.
Row Aligned(absl::string_view name, std::string value) {
  return {absl::StrFormat("%-12s", name), std::move(value)};
}

std::string LoadText(const Load& load) {
  const std::string callers =
      load.callers == 1 ? "1 caller" : absl::StrCat(load.callers, " callers");
  const std::string length =
      absl::StrCat(HumanTime(load.duration),
                   load.calls ? absl::StrCat(" or ", Count(*load.calls), " calls") : "");
  if (!load.rate) return absl::StrCat(callers, ", each when it has its answer, for ", length);
  return absl::StrCat(ShortestNumber(*load.rate), " calls due per second, ", callers,
                      " at most, for ", length);
}

std::string CallsText(const Tally& tally) {
  std::string text = absl::StrCat(Count(tally.right()), " right, ", Count(tally.wrong), " wrong, ",
                                  Count(tally.failed), " failed");
  if (tally.not_begun > 0) {
    absl::StrAppend(&text, ", ", Count(tally.not_begun), " not begun: no caller was free");
  }
  if (tally.interrupted) absl::StrAppend(&text, " (stopped early)");
  return text;
}

std::string ThroughputText(const BenchReport& report) {
  const double calls = PerSecond(report.tally.right(), report.tally.elapsed);
  return absl::StrFormat("%.4g calls/s, %s elements/s, %s/s there, %s/s back", calls,
                         HumanCount(calls * static_cast<double>(report.elements)),
                         HumanBytes(calls * static_cast<double>(report.sent_bytes)),
                         HumanBytes(calls * static_cast<double>(report.received_bytes)));
}

std::vector<Row> LatencyRows(const Histogram& latency) {
  std::vector<Row> rows = {{"latency mean", HumanTime(latency.mean())},
                           {"  min", HumanTime(latency.min())}};
  for (const Percentile& p : kPercentiles) {
    // With fewer calls than it leaves out, a percentile is no other than the maximum.
    if (static_cast<double>(latency.count()) * (1 - p.share) < 1) break;
    rows.emplace_back(absl::StrCat("  ", p.name), HumanTime(latency.Quantile(p.share)));
  }
  rows.emplace_back("  max", HumanTime(latency.max()));
  return rows;
}

std::vector<Row> ServerRows(const absl::StatusOr<ServerTimes>& times) {
  if (!times.ok()) {
    return {{"server side", absl::StrCat("not known: ", OneLine(times.status().message()))}};
  }
  std::vector<Row> rows = {
      {"server side", absl::StrCat(Count(times->calls()), " calls by its metrics")}};
  for (size_t i = 0; i < times->phases.size(); ++i) {
    const BucketedTimes& phase = times->phases[i];
    rows.emplace_back(absl::StrCat("  ", kServerPhases[i].name),
                      phase.calls() == 0 ? "not seen"
                                         : absl::StrCat("mean ", HumanTime(phase.mean()), ", p50 ~",
                                                        HumanTime(phase.Quantile(.5)), ", p99 ~",
                                                        HumanTime(phase.Quantile(.99))));
  }
  return rows;
}

std::string FailureText(const Tally& tally) {
  std::string text;
  for (const auto& [alike, group] : tally.failures) {
    const std::string reason = LossReason(group.example);
    absl::StrAppend(&text, "  ", Count(group.count), " x ",
                    absl::StatusCodeToString(group.example.code()),
                    reason.empty() ? "" : absl::StrCat(" (", OneLine(reason), ")"), ": ",
                    OneLine(group.example.message()), "\n");
  }
  return text.empty() ? "" : absl::StrCat("\nfailures\n", text);
}

Json LatencyJson(const Histogram& latency) {
  const auto seconds = [](absl::Duration time) { return absl::ToDoubleSeconds(time); };
  Json json = {{"min", seconds(latency.min())}, {"mean", seconds(latency.mean())}};
  for (const Percentile& p : kPercentiles) json[p.name] = seconds(latency.Quantile(p.share));
  json["max"] = seconds(latency.max());
  return json;
}

Json ServerJson(const std::optional<absl::StatusOr<ServerTimes>>& times) {
  if (!times) return nullptr;
  if (!times->ok()) return {{"error", times->status().message()}};
  Json json = {{"calls", (*times)->calls()}};
  for (size_t i = 0; i < (*times)->phases.size(); ++i) {
    const BucketedTimes& phase = (*times)->phases[i];
    Json& part = json[absl::StrCat(kServerPhases[i].name, "_seconds")];
    part = {{"calls", phase.calls()}};
    if (phase.calls() == 0) continue;
    part["mean"] = absl::ToDoubleSeconds(phase.mean());
    part["p50"] = absl::ToDoubleSeconds(phase.Quantile(.5));
    part["p99"] = absl::ToDoubleSeconds(phase.Quantile(.99));
  }
  return json;
}

Json HistogramJson(const Histogram& latency) {
  Json bars = Json::array();
  for (const Histogram::Bar& bar : latency.Bars(8)) {
    bars.push_back({{"up_to", absl::ToDoubleSeconds(bar.up_to)}, {"count", bar.count}});
  }
  return bars;
}

Json FailuresJson(const Tally& tally) {
  Json failures = Json::array();
  for (const auto& [alike, group] : tally.failures) {
    failures.push_back({{"code", absl::StatusCodeToString(group.example.code())},
                        {"reason", LossReason(group.example)},
                        {"count", group.count},
                        {"example", group.example.message()}});
  }
  return failures;
}

Json LoadJson(const BenchPlan& plan) {
  Json load = {{"concurrency", plan.load.callers},
               {"duration_seconds", absl::ToDoubleSeconds(plan.load.duration)},
               {"rate", nullptr},
               {"calls", nullptr}};
  if (plan.load.rate) load["rate"] = *plan.load.rate;
  if (plan.load.calls) load["calls"] = *plan.load.calls;
  return load;
}

}  // namespace

bool BenchReport::well() const {
  return tally.wrong == 0 && tally.failed + tally.not_begun <= plan.allowed_failures &&
         tally.right() > 0 && (!server_times || server_times->ok());
}

std::string Picture(const Histogram& times) {
  if (times.count() == 0) return "";
  std::vector<Histogram::Bar> bars;
  for (const int steps : {8, 4, 2, 1}) {
    bars = times.Bars(steps);
    if (bars.size() <= kMostBars) break;
  }
  // Where even doublings are too many, the first ones share a line.
  while (bars.size() > kMostBars) {
    bars[1].count += bars[0].count;
    bars.erase(bars.begin());
  }
  int64_t most = 1;
  for (const Histogram::Bar& bar : bars) most = std::max(most, bar.count);
  std::string picture;
  for (const Histogram::Bar& bar : bars) {
    const double share = static_cast<double>(bar.count) / static_cast<double>(most);
    // A row that is not empty shows at least one mark.
    const int width = bar.count == 0 ? 0 : std::max(1, static_cast<int>(share * kBarWidth + .5));
    std::string line = absl::StrFormat(
        "%9s |%-*s %s", HumanTime(bar.up_to), kBarWidth, std::string(width, '#'),
        bar.count == 0 ? ""
                       : absl::StrFormat("%5.1f %%  %s",
                                         100 * PerSecond(bar.count, absl::Seconds(times.count())),
                                         Count(bar.count)));
    absl::StrAppend(&picture, line.substr(0, line.find_last_not_of(' ') + 1), "\n");
  }
  return absl::StrCat("calls by time, up to\n", picture);
}

std::string BenchHead(const BenchReport& report) {
  const ServerInfo& info = report.info;
  const std::string_view dtype = Name(report.plan.problem.dtype);
  return Table({
      Aligned("server", OneLine(absl::StrCat(report.server, ", lossd ", info.version, ", ",
                                             info.simd_target, ", ", info.threads, " threads"))),
      Aligned("call",
              absl::StrCat(report.plan.loss, " ", absl::string_view(dtype.data(), dtype.size()),
                           " ", absl::StrJoin(report.plan.problem.shape, "x"), ", ",
                           HumanBytes(report.sent_bytes), " there, ",
                           HumanBytes(report.received_bytes), " back, ", report.plan.transport)),
      Aligned("load", LoadText(report.plan.load)),
  });
}

std::string BenchText(const BenchReport& report) {
  const Tally& tally = report.tally;
  std::vector<Row> rows = {
      Aligned("calls", absl::StrCat(CallsText(tally), ", in ", HumanTime(tally.elapsed))),
      Aligned("throughput", ThroughputText(report)),
  };
  if (tally.right() > 0) {
    for (Row& row : LatencyRows(tally.latency)) rows.push_back(std::move(row));
  }
  if (report.server_times) {
    for (Row& row : ServerRows(*report.server_times)) rows.push_back(std::move(row));
  }
  const std::string picture = Picture(tally.latency);
  return absl::StrCat(Table(rows), picture.empty() ? "" : "\n", picture, FailureText(tally));
}

Json BenchJson(const BenchReport& report) {
  const Tally& tally = report.tally;
  const double calls = PerSecond(tally.right(), tally.elapsed);
  return {
      {"server", report.server},
      {"server_info", ToJson(report.info)},
      {"loss", report.plan.loss},
      {"dtype", Name(report.plan.problem.dtype)},
      {"shape", report.plan.problem.shape},
      {"transport", report.plan.transport},
      {"load", LoadJson(report.plan)},
      {"calls",
       {{"right", tally.right()},
        {"wrong", tally.wrong},
        {"failed", tally.failed},
        {"not_begun", tally.not_begun}}},
      {"interrupted", tally.interrupted},
      {"elapsed_seconds", absl::ToDoubleSeconds(tally.elapsed)},
      {"throughput",
       {{"calls_per_second", calls},
        {"elements_per_second", calls * static_cast<double>(report.elements)},
        {"sent_bytes_per_second", calls * static_cast<double>(report.sent_bytes)},
        {"received_bytes_per_second", calls * static_cast<double>(report.received_bytes)}}},
      {"latency_seconds", LatencyJson(tally.latency)},
      {"histogram_seconds", HistogramJson(tally.latency)},
      {"server_side", ServerJson(report.server_times)},
      {"failures", FailuresJson(tally)},
      {"well", report.well()},
  };
}

std::string BenchProgress(const Load& load, const Tally& so_far) {
  double share = absl::FDivDuration(so_far.elapsed, load.duration);
  if (load.calls) {
    share = std::max(share, static_cast<double>(so_far.calls()) / static_cast<double>(*load.calls));
  }
  constexpr int kWidth = 20;
  const int filled = static_cast<int>(std::min(share, 1.) * kWidth);
  return absl::StrFormat(
      "[%s%s]  %s of %s  %.4g calls/s  p50 %s  p99 %s  %s wrong, %s failed",
      std::string(filled, '#'), std::string(kWidth - filled, '-'),
      HumanTime(absl::Trunc(so_far.elapsed, absl::Milliseconds(100))), HumanTime(load.duration),
      PerSecond(so_far.right(), so_far.elapsed), HumanTime(so_far.latency.Quantile(.5)),
      HumanTime(so_far.latency.Quantile(.99)), Count(so_far.wrong), Count(so_far.failed));
}

}  // namespace lossd::lossctl
