#include "client/lossctl/bench/load.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace lossd::lossctl {
namespace {

// Callers look whether the load was stopped at least this often while they wait.
constexpr absl::Duration kNap = absl::Milliseconds(50);

// "took 31 ms" and "took 7 ms" are one reason.
std::string WithoutNumbers(absl::string_view words) {
  std::string text;
  for (const char c : words) {
    if (!absl::ascii_isdigit(c)) {
      text += c;
    } else if (text.empty() || text.back() != '#') {
      text += '#';
    }
  }
  return text;
}

int64_t DueWithin(const Load& load) {
  const double due = std::ceil(*load.rate * absl::ToDoubleSeconds(load.duration));
  return load.calls ? std::min(*load.calls, static_cast<int64_t>(due)) : static_cast<int64_t>(due);
}

absl::Duration LatestBegin(const Load& load) {
  return load.duration + std::max(absl::Seconds(1), load.duration / 10);
}

}  // namespace

void Tally::Add(const Verdict& verdict, absl::Duration since_due) {
  if (!verdict.status.ok()) {
    ++failed;
    const absl::Status& error = verdict.status;
    Failures& group =
        failures[absl::StrCat(absl::StatusCodeToString(error.code()), " ", LossReason(error), ": ",
                              WithoutNumbers(error.message()))];
    if (group.count++ == 0) group.example = error;
  } else if (verdict.wrong) {
    ++wrong;
  } else {
    latency.Record(since_due);
  }
}

void Tally::Merge(const Tally& other) {
  latency.Merge(other.latency);
  wrong += other.wrong;
  failed += other.failed;
  for (const auto& [reason, of_other] : other.failures) {
    Failures& group = failures[reason];
    if (group.count == 0) group.example = of_other.example;
    group.count += of_other.count;
  }
}

LoadRun::LoadRun(const Load& load, LoadClock clock,
                 std::function<Verdict(int caller, int64_t index)> call)
    : load_(load),
      clock_(std::move(clock)),
      call_(std::move(call)),
      callers_(load.callers),
      running_(load.callers) {
  for (int i = 0; i < load.callers; ++i) threads_.emplace_back([this, i] { Call(i); });
}

LoadRun::~LoadRun() {
  Stop();
  for (std::thread& thread : threads_) thread.join();
}

bool LoadRun::stopped() {
  const absl::MutexLock lock(&mutex_);
  return stopped_;
}

void LoadRun::Stop() {
  const absl::MutexLock lock(&mutex_);
  if (running_ > 0) stopped_ = true;
}

bool LoadRun::Over() {
  const absl::MutexLock lock(&mutex_);
  return running_ == 0;
}

std::optional<LoadRun::Ticket> LoadRun::Next() {
  const absl::Duration now = clock_.now();
  const absl::MutexLock lock(&mutex_);
  if (stopped_ || (load_.calls && next_ >= *load_.calls)) return std::nullopt;
  if (!load_.rate) {
    if (now >= load_.duration) return std::nullopt;
    return Ticket{next_++, now};
  }
  if (next_ >= DueWithin(load_) || now > LatestBegin(load_)) return std::nullopt;
  const auto index = static_cast<double>(next_);
  return Ticket{next_++, absl::Seconds(index / *load_.rate)};
}

void LoadRun::Call(int caller) {
  while (const std::optional<Ticket> ticket = Next()) {
    while (clock_.now() < ticket->due && !stopped()) {
      clock_.sleep_until(std::min(ticket->due, clock_.now() + kNap));
    }
    if (stopped()) break;
    const Verdict verdict = call_(caller, ticket->index);
    const absl::Duration since_due = clock_.now() - ticket->due;
    Caller& self = callers_[caller];
    const absl::MutexLock lock(&self.mutex);
    self.tally.Add(verdict, since_due);
  }
  const absl::Duration now = clock_.now();
  const absl::MutexLock lock(&mutex_);
  elapsed_ = std::max(elapsed_, now);
  --running_;
}

Tally LoadRun::SoFar() {
  Tally tally;
  for (Caller& caller : callers_) {
    const absl::MutexLock lock(&caller.mutex);
    tally.Merge(caller.tally);
  }
  tally.elapsed = clock_.now();
  return tally;
}

Tally LoadRun::WaitForEnd() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  Tally tally = SoFar();
  const absl::MutexLock lock(&mutex_);
  tally.elapsed = elapsed_;
  tally.interrupted = stopped_;
  if (load_.rate && !stopped_) tally.not_begun = DueWithin(load_) - next_;
  return tally;
}

}  // namespace lossd::lossctl
