#include "client/call/fan_out.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

// Blocks small enough that there is one for each part.
BlockPlan PlanFor(const ComputeJob& job, int parts) {
  const Geometry& geometry = *job.geometry;
  const int64_t positions = std::max<int64_t>(1, geometry.positions() / parts);
  const int64_t element = geometry.element_bytes();
  return {geometry, std::min(job.block_bytes, positions * geometry.classes * element)};
}

bool SameBits(double a, double b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

}  // namespace

FanOut::FanOut(const ComputeJob& job, int parts) : job_(job) {
  const BlockPlan plan = PlanFor(job, parts);
  const int64_t count = std::min<int64_t>(parts, plan.count());
  for (int64_t i = 0; i < count; ++i) {
    // The first plan.count() % count parts have a block more.
    const auto begin = [&](int64_t part) {
      return plan.count() / count * part + std::min(part, plan.count() % count);
    };
    parts_.emplace_back(job, BlockLedger(plan, begin(i), begin(i + 1)));
    if (!job.progress) continue;
    parts_.back().job.progress = [this](int64_t, int64_t total) { ReportProgress(total); };
  }
}

void FanOut::ReportProgress(int64_t total) const {
  int64_t positions = 0;
  for (const Part& part : parts_) positions += part.ledger.answered_positions();
  job_.progress(positions * job_.geometry->classes * job_.geometry->prediction_size, total);
}

void FanOut::Start(Driver& driver, Replay replay, Done done) {
  done_ = std::move(done);
  const size_t count = parts_.size();
  running_ = count;
  // The last part may end at once, and this with it.
  for (size_t i = 0; i < count; ++i) {
    Part& part = parts_[i];
    part.attempts.emplace(driver, replay);
    part.attempts->Run(
        part.job.loans, [this, &part](Report report) { AttemptPart(part, std::move(report)); },
        [this, &part](const absl::Status& status) { PartEnded(part, status); });
  }
}

void FanOut::AttemptPart(Part& part, Report report) {
  if (!failure_.ok()) return report(absl::AbortedError("another part failed"));
  part.stream = std::make_unique<StreamAttempt>(
      part.job, &part.ledger,
      [&part, report = std::move(report)](absl::StatusOr<LossResult> outcome) {
        part.stream.reset();  // and with it what it holds of the caller's memory
        const absl::Status status = outcome.status();
        if (status.ok()) part.result = *std::move(outcome);
        report(status);
      });
  part.stream->Start(part.attempts->driver(), part.attempts->deadline());
}

void FanOut::Stop() {
  // The last part may end at once, and this with it.
  for (size_t i = 0, left = running_; left > 0; ++i) {
    Part& part = parts_[i];
    if (part.ended) continue;
    --left;
    if (!part.attempts->Stop() && part.stream != nullptr) part.stream->Cancel();
  }
}

void FanOut::PartEnded(Part& part, const absl::Status& status) {
  part.ended = true;
  --running_;
  if (!status.ok() && failure_.ok()) {
    failure_ = status;
    for (Part& part : parts_) {
      if (part.stream != nullptr) part.stream->Cancel();
    }
  }
  if (running_ > 0) return;
  absl::StatusOr<LossResult> outcome = Outcome();
  const Done done = std::move(done_);
  done(std::move(outcome));
}

absl::StatusOr<LossResult> FanOut::Outcome() const {
  if (!failure_.ok()) return failure_;
  const LossResult& first = parts_.front().result;
  PartialSums sums;
  for (const Part& part : parts_) {
    if (!SameBits(part.result.denominator, first.denominator)) {
      return absl::InternalError(absl::StrCat("two servers divide one batch, one by ",
                                              first.denominator, ", one by ",
                                              part.result.denominator));
    }
    sums.Merge(part.ledger.sums());
  }
  return MergedResult(first, sums);
}

}  // namespace lossd
