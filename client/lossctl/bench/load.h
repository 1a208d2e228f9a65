#ifndef LOSSD_CLIENT_LOSSCTL_BENCH_LOAD_H_
#define LOSSD_CLIENT_LOSSCTL_BENCH_LOAD_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/lossctl/bench/histogram.h"
#include "client/lossctl/bench/problem.h"

namespace lossd::lossctl {

// When calls are made, and by how many callers.
struct Load {
  int callers = 1;                  // calls at once at most
  std::optional<double> rate = {};  // calls that fall due per second; none: each caller's next call
                                    // is due when the one before was answered
  absl::Duration duration = absl::Seconds(10);  // in which calls fall due
  std::optional<int64_t> calls = {};            // at most so many
};

// Time since the load began.
struct LoadClock {
  std::function<absl::Duration()> now;
  std::function<void(absl::Duration)> sleep_until;  // may return early
};

// Calls that failed alike.
struct Failures {
  int64_t count = 0;
  absl::Status example;  // the first
};

// What became of the calls.
struct Tally {
  Histogram latency = {};  // of right answers, each from the moment its call was due
  int64_t wrong = 0;
  int64_t failed = 0;
  std::map<std::string, Failures> failures;  // by code, reason and words, their numbers made alike
  int64_t not_begun = 0;                     // fell due, and no caller was free in time
  bool interrupted = false;                  // the load was stopped; then not_begun is not counted
  absl::Duration elapsed;                    // until the last call ended

  int64_t right() const { return latency.count(); }
  int64_t calls() const { return right() + wrong + failed; }
  void Add(const Verdict& verdict, absl::Duration since_due);
  void Merge(const Tally& other);
};

// Callers in threads of their own. A call that was due while all callers were busy is made late,
// and its time counts from when it was due: a slow server slows nothing but its own figures
// ("coordinated omission" is what it is called when it does). Calls more than a tenth of the
// duration late (at least a second) after its end are not begun any more.
class LoadRun {
 public:
  // call(caller, index): makes call number `index`; callers are numbered 0..callers-1.
  LoadRun(const Load& load, LoadClock clock,
          std::function<Verdict(int caller, int64_t index)> call);
  ~LoadRun();

  void Stop();         // no call begins any more
  bool Over();         // no call is under way or will be
  Tally SoFar();       // without not_begun
  Tally WaitForEnd();  // once

 private:
  struct Ticket {
    int64_t index;
    absl::Duration due;
  };
  struct Caller {
    absl::Mutex mutex;
    Tally tally ABSL_GUARDED_BY(mutex);
  };

  void Call(int caller);
  std::optional<Ticket> Next();
  bool stopped();

  const Load load_;
  const LoadClock clock_;
  const std::function<Verdict(int, int64_t)> call_;
  std::deque<Caller> callers_;
  absl::Mutex mutex_;
  int64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  int running_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration elapsed_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_BENCH_LOAD_H_
