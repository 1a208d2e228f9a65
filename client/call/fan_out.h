#ifndef LOSSD_CLIENT_CALL_FAN_OUT_H_
#define LOSSD_CLIENT_CALL_FAN_OUT_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "client/call/attempts.h"
#include "client/call/compute_job.h"
#include "client/call/driver.h"
#include "client/call/replay.h"
#include "client/call/stream_attempt.h"

namespace lossd {

// One Compute as several streams at once, each over a part of the positions: the parts are runs of
// blocks in memory order, so they are cut across the outermost dimension, or where that is the
// class axis, across the one after it. Each part is replayed by itself. The side tensors go to each
// whole, so each server finds the same denominator, and the exact sums of all parts make the total
// of one call. The first part that fails for good ends them all.
class FanOut {
 public:
  using Done = std::function<void(absl::StatusOr<LossResult>)>;

  // At most `parts` of them, as many as there are positions to go round. Precondition: `job`, which
  // outlives this, has a geometry with positions; parts >= 1.
  FanOut(const ComputeJob& job, int parts);

  // See ComputeCall::Start.
  void Start(Driver& driver, Replay replay, Done done);

  // See ComputeCall::Stop.
  void Stop();

 private:
  using Report = Attempts::Report;

  struct Part {
    Part(const ComputeJob& job_in, BlockLedger ledger_in)
        : job(job_in), ledger(std::move(ledger_in)) {}

    ComputeJob job;  // with loans of its own: a part that is replayed waits for none but these
    BlockLedger ledger;
    std::optional<Attempts> attempts;  // once it is started
    std::unique_ptr<StreamAttempt> stream;
    bool ended = false;
    LossResult result;
  };

  void AttemptPart(Part& part, Report report);
  void PartEnded(Part& part, const absl::Status& status);
  absl::StatusOr<LossResult> Outcome() const;
  void ReportProgress(int64_t total) const;

  const ComputeJob& job_;
  std::deque<Part> parts_;
  size_t running_ = 0;
  absl::Status failure_;
  Done done_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_FAN_OUT_H_
