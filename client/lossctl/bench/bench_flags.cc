#include "client/lossctl/bench/bench_flags.h"

#include <cmath>
#include <iterator>
#include <limits>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/lossctl/choices.h"
#include "client/lossctl/loss_flags.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

using Flags = BenchFlags;

constexpr char kWhat[] = "What to ask for";
constexpr char kLoad[] = "How often";
constexpr char kCall[] = "Server";
constexpr char kReport[] = "Report";

constexpr int kMaxCallers = 1024;
constexpr int kCallersAtARate = 64;
constexpr int64_t kMaxElements = int64_t{1} << 36;

constexpr FlagRow<BenchFlags> kFixed[] = {
    {&Flags::transport, "--transport", kCall, "auto|unary|stream",
     "default auto: by size; one message or a stream of blocks"},
    {&Flags::fan_out, "--fan-out", kCall, "N",
     "streams at once, which several servers share; default 1"},
    {&Flags::connections, "--connections", kCall, "N", "to each server; default 2"},
    {&Flags::attempts, "--attempts", kCall, "N",
     "of a call that fails for want of a server; default 4,\nas the client library has it; 1 shows "
     "every failure"},

    {&Flags::shape, "--shape", kWhat, "NxC[xINNER...]",
     "of the predictions, row-major, C classes; default 256x1000"},
    {&Flags::dtype, "--dtype", kWhat, "f32|f64|f16|bf16", "of the predictions; default f32"},
    {&Flags::inputs, "--inputs", kWhat, "N", "different ones, in turn; default 2"},
    {&Flags::seed, "--seed", kWhat, "N", "of the inputs; default 1"},

    {&Flags::callers, "--concurrency", kLoad, "N",
     "callers; default 1, with --rate 64: calls at once at most"},
    {&Flags::rate, "--rate", kLoad, "R",
     "calls that fall due per second, whatever becomes of them;\ntheir time counts from then. "
     "Default: a caller calls again\nwhen it has its answer"},
    {&Flags::duration, "--duration", kLoad, "DURATION", "default 10s"},
    {&Flags::calls, "--calls", kLoad, "N", "ends after so many calls, if that is earlier"},

    {&Flags::allow_failures, "--allow-failures", kReport, "N",
     "failed calls that still are a success; default 0"},
    {&Flags::metrics, "--metrics", kReport, "ADDR[,ADDR...]",
     "host:port of the servers' --metrics-listen: tells how long\ncalls waited, were uploaded, "
     "computed and downloaded"},
};

// Overwrites `value` where the flag is given.
template <class Field>
absl::Status ReadCount(const char* flag, const FlagText& text, int64_t least, int64_t most,
                       Field* value) {
  if (!text) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(const int64_t count, ParseInteger(flag, *text));
  if (count < least || count > most) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " is ", count, "; wanted ", least, "..", most));
  }
  *value = static_cast<std::remove_reference_t<decltype(*value)>>(count);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> ParseShape(const std::string& text) {
  std::vector<int64_t> shape;
  for (const absl::string_view part : absl::StrSplit(text, 'x')) {
    int64_t extent = 0;
    if (!absl::SimpleAtoi(part, &extent) || extent < 1) extent = -1;
    shape.push_back(extent);
  }
  const std::optional<int64_t> elements = ElementCount(shape);
  if (shape.size() < 2 || shape.size() > 8 || !elements || *elements > kMaxElements) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shape is '", text,
                     "'; wanted 2 to 8 extents such as 256x1000, all at "
                     "least 1, and at most 2^36 elements"));
  }
  return shape;
}

absl::Status ReadProblem(const BenchFlags& flags, BenchPlan* plan) {
  plan->loss = flags.loss.value_or("softmax");
  ProblemShape& problem = plan->problem;
  LOSSD_ASSIGN_OR_RETURN(problem.loss, ReadLoss(plan->loss));
  LOSSD_ASSIGN_OR_RETURN(problem.dtype, ParseChoice("--dtype", flags.dtype.value_or("f32"),
                                                    absl::MakeConstSpan(kFloatingDTypes)));
  const bool of_frames = FactsOf(problem.loss).family == Family::kSequences;
  const std::string shape = flags.shape.value_or(of_frames ? "16x200x64" : "256x1000");
  LOSSD_ASSIGN_OR_RETURN(problem.shape, ParseShape(shape));
  if (of_frames && problem.shape.size() != 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--shape is '", shape, "'; wanted sequences x frames x classes with --loss=", plan->loss));
  }
  LOSSD_RETURN_IF_ERROR(ReadCount("--inputs", flags.inputs, 1, 1024, &problem.inputs));
  return ReadCount("--seed", flags.seed, 0, std::numeric_limits<int64_t>::max(), &problem.seed);
}

absl::Status ReadLoad(const BenchFlags& flags, Load* load) {
  if (flags.rate) {
    LOSSD_ASSIGN_OR_RETURN(const double rate, ParseNumber("--rate", *flags.rate));
    if (!(rate > 0 && rate <= 1e6)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--rate is ", *flags.rate, "; wanted more than 0, at most 1e6 per second"));
    }
    load->rate = rate;
    load->callers = kCallersAtARate;
  }
  LOSSD_RETURN_IF_ERROR(ReadCount("--concurrency", flags.callers, 1, kMaxCallers, &load->callers));
  if (flags.duration) {
    LOSSD_ASSIGN_OR_RETURN(load->duration, ParseTimeout("--duration", *flags.duration));
  }
  return ReadCount("--calls", flags.calls, 1, std::numeric_limits<int64_t>::max(), &load->calls);
}

}  // namespace

absl::Span<const FlagRow<BenchFlags>> BenchFlagTable() {
  static const auto& losses = *new std::string(LossNames());
  static const auto& table = *new std::vector<FlagRow<BenchFlags>>([] {
    std::vector<FlagRow<BenchFlags>> rows = {
        {&Flags::loss, "--loss", kWhat, losses.c_str(), "with its gradient; default softmax"}};
    rows.insert(rows.end(), std::begin(kFixed), std::end(kFixed));
    return rows;
  }());
  return table;
}

absl::StatusOr<BenchPlan> ReadBench(const BenchFlags& flags) {
  BenchPlan plan;
  LOSSD_RETURN_IF_ERROR(ReadProblem(flags, &plan));
  LOSSD_RETURN_IF_ERROR(ReadLoad(flags, &plan.load));
  plan.transport = flags.transport.value_or("auto");
  LOSSD_ASSIGN_OR_RETURN(
      plan.call.mode, ParseChoice("--transport", plan.transport, absl::MakeConstSpan(kTransports)));
  if (flags.fan_out) {
    LOSSD_ASSIGN_OR_RETURN(plan.call.fan_out, ParseFanOut("--fan-out", *flags.fan_out));
  }
  LOSSD_RETURN_IF_ERROR(ReadTimeout(flags.server, &plan.call.timeout));
  LOSSD_RETURN_IF_ERROR(
      ReadCount("--connections", flags.connections, 1, 64, &plan.client.channels));
  LOSSD_RETURN_IF_ERROR(
      ReadCount("--attempts", flags.attempts, 1, 1000, &plan.client.retry.max_attempts));
  LOSSD_RETURN_IF_ERROR(ReadCount("--allow-failures", flags.allow_failures, 0,
                                  std::numeric_limits<int64_t>::max(), &plan.allowed_failures));
  if (flags.metrics) {
    LOSSD_ASSIGN_OR_RETURN(plan.metrics, ParseMetricsAddresses("--metrics", *flags.metrics));
  }
  return plan;
}

}  // namespace lossd::lossctl
