#include "client/lossctl/bench/bench_command.h"

#include <signal.h>
#include <sys/prctl.h>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/lossctl/bench/bench_report.h"
#include "client/lossctl/bench/load.h"
#include "client/lossctl/bench/problem.h"
#include "client/lossctl/bench/server_times.h"
#include "client/lossctl/progress_bar.h"
#include "client/lossctl/report.h"
#include "client/lossctl/units.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

// SIGINT and SIGTERM as something that is asked for. Made before any other thread: they inherit
// what is blocked.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  ~StopSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Waits; whether one came.
  bool ComeWithin(absl::Duration time) {
    const timespec wait = absl::ToTimespec(time);
    return sigtimedwait(&signals_, nullptr, &wait) > 0;
  }

  // The next one ends the program.
  void LetThrough() { pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr); }

 private:
  sigset_t signals_;
  sigset_t before_;
};

LoadClock RealClock() {
  const auto start = std::chrono::steady_clock::now();
  return {[start] { return absl::FromChrono(std::chrono::steady_clock::now() - start); },
          [start](absl::Duration until) {
            // The system rounds waits up by 50 us where it is not asked not to; here they count.
            thread_local const bool exact = prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0) == 0;
            static_cast<void>(exact);
            std::this_thread::sleep_until(start + absl::ToChronoNanoseconds(until));
          }};
}

Tally Run(const BenchPlan& plan, const Problem& problem, Client client, StopSignals& signals) {
  std::vector<std::vector<std::byte>> gradients(plan.load.callers,
                                                std::vector<std::byte>(problem.received_bytes()));
  std::optional<ProgressBar> bar;
  if (std::optional<Terminal> terminal = StandardError()) bar.emplace(*std::move(terminal));
  LoadRun run(plan.load, RealClock(), [&](int caller, int64_t index) {
    return problem.Ask(client, plan.call, index, gradients[caller]);
  });
  while (!run.Over()) {
    if (signals.ComeWithin(absl::Milliseconds(100))) {
      run.Stop();
      signals.LetThrough();
    }
    if (bar) bar->Say(BenchProgress(plan.load, run.SoFar()));
  }
  return run.WaitForEnd();
}

int NoMetrics(const absl::Status& status) {
  absl::FPrintF(stderr, "lossctl: %s\nhint: --metrics is where lossd has its --metrics-listen\n",
                OneLine(status.message()));
  return kRefused;
}

}  // namespace

int RunBench(const BenchFlags& flags) {
  absl::StatusOr<BenchPlan> plan = ReadBench(flags);
  if (!plan.ok()) return BadUsage(plan.status().message());
  StopSignals signals;
  absl::StatusOr<Client> client = Connect(flags.server, plan->client);
  if (!client.ok()) return BadUsage(client.status().message());
  const absl::StatusOr<ServerInfo> info = client->GetServerInfo(plan->call);
  if (!info.ok()) return Refused(info.status(), *flags.server.server);
  Problem problem(plan->problem);
  if (const absl::Status learned = problem.Learn(*client, plan->call); !learned.ok()) {
    return Refused(learned, *flags.server.server);
  }
  ServerWatch watch(plan->metrics, ServerWatch::RealWorld());
  if (const absl::Status begun = watch.Begin(); !begun.ok()) return NoMetrics(begun);
  BenchReport report{*flags.server.server, *info,
                     *std::move(plan),     problem.elements(),
                     problem.sent_bytes(), problem.received_bytes(),
                     /*tally=*/{}};
  if (!flags.json) {
    if (const int printed = Print(BenchHead(report)); printed != kDone) return printed;
  }
  report.tally = Run(report.plan, problem, *client, signals);
  if (!report.plan.metrics.empty()) report.server_times = watch.End();
  const int printed =
      Print(flags.json ? absl::StrCat(Text(BenchJson(report)), "\n") : BenchText(report));
  if (printed != kDone) return printed;
  return report.well() ? kDone : kRefused;
}

}  // namespace lossd::lossctl
