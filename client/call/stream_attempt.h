#ifndef LOSSD_CLIENT_CALL_STREAM_ATTEMPT_H_
#define LOSSD_CLIENT_CALL_STREAM_ATTEMPT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "client/call/compute_job.h"
#include "client/call/driver.h"
#include "client/call/stream_source.h"
#include "client/transport/transport.h"
#include "protos/wire/response_codec.h"

namespace lossd {

// The answer over several calls: the exact sums of all blocks, D as one call's `summary` has it.
LossResult MergedResult(const LossResult& summary, const PartialSums& sums);

// One ComputeStream call: sends what `ledger` has no answer for and enters the answers into it,
// both at once. Believes nothing the server says that was not asked for.
//
// The answer that makes the ledger complete is held back until the call has succeeded. A call that
// breaks between its last block and its summary so leaves a block to be replayed, and with it a
// call that has a summary; no block is sent again after its gradient was written.
class StreamAttempt : public StreamEvents {
 public:
  // `job` and `ledger` outlive this; ledger is nullptr without a geometry. `done` runs once, with
  // the result over all that the ledger holds; it may destroy this.
  StreamAttempt(const ComputeJob& job, BlockLedger* ledger,
                std::function<void(absl::StatusOr<LossResult>)> done);

  void Start(Driver& driver, absl::Time deadline);

  // Ends it soon, as kAborted, which is not tried again.
  void Cancel();

  void OnWritten() override;
  void OnMessage(wire::Message message) override;
  void OnDone(absl::Status status) override;

 private:
  struct HeldBlock {
    int64_t index;
    wire::DecodedBlockResult result;
  };

  void WriteNext();
  absl::Status Take(const wire::Message& message);
  absl::Status TakeBlock(wire::DecodedBlockResult result);
  absl::Status Commit(int64_t index, const wire::DecodedBlockResult& result);
  absl::StatusOr<LossResult> Outcome(const absl::Status& status);
  void Fail(absl::Status error);

  const ComputeJob& job_;
  BlockLedger* ledger_;
  std::function<void(absl::StatusOr<LossResult>)> done_;
  StreamSource source_;
  const bool first_attempt_;
  std::unique_ptr<TransportStream> stream_;
  bool last_written_ = false;
  std::optional<HeldBlock> held_;
  std::optional<LossResult> summary_;
  absl::Status failure_;  // ours; what the stream reports after it does not count
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_STREAM_ATTEMPT_H_
