#ifndef LOSSD_CLIENT_CALL_COMPUTE_CALL_H_
#define LOSSD_CLIENT_CALL_COMPUTE_CALL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "client/call/attempts.h"
#include "client/call/compute_job.h"
#include "client/call/driver.h"
#include "client/call/fan_out.h"
#include "client/call/region_call.h"
#include "client/call/replay.h"
#include "client/call/stream_attempt.h"
#include "lossd/client.h"

namespace lossd {

// One Compute, from the caller's tensors to the caller's buffers: checks the memory, chooses unary
// or stream, and attempts until the answer is there.
class ComputeCall {
 public:
  using Done = std::function<void(absl::StatusOr<LossResult>)>;

  // Copies the spec and the descriptions, not the bytes. `regions`, null where no memory is shared,
  // outlives this.
  ComputeCall(const LossSpec& spec, const LossInputs& inputs, const LossOutputs& into,
              const ClientOptions& options, const CallOptions& call,
              SharedRegions* regions = nullptr);

  // Starts on the driver, whose thread this is. `done` runs once, from the driver's RunOnce or at
  // once, when nothing refers to the caller's memory any more; it may destroy this.
  void Start(Driver& driver, Replay replay, Done done);

 private:
  using Report = Attempts::Report;

  absl::Status Check() const;
  absl::Status ChooseWay();
  absl::StatusOr<bool> ChooseUnary();
  absl::StatusOr<grpc::ByteBuffer> UnaryRequest() const;
  void Attempt(Report report);
  bool AttemptInRegions(Report& report);
  void TakeInRegions(const absl::StatusOr<wire::Message>& answer);
  void AttemptUnary(Report report);
  // `call`, null without regions, is the attempt that was answered.
  absl::Status TakeAnswer(const absl::StatusOr<wire::Message>& answer, const RegionCall* call);
  void AttemptStream(Report report);
  void Begin(Driver& driver, Replay replay, Done done);
  void Ended(const absl::Status& status);
  void AskAgain(Driver& driver);
  // Ends the call soon, at once if nothing is under way.
  void Stop();

  ComputeJob job_;
  TransferMode mode_;
  int parts_;
  int64_t unary_limit_bytes_;
  std::optional<bool> unary_;  // once it is chosen
  Done done_;
  std::optional<Attempts> attempts_;               // once it is started
  SharedRegions* regions_;                         // null: the call goes the usual way
  std::optional<RegionCall> region_call_;          // of an attempt under way
  bool shared_anew_ = false;                       // the server had forgotten a region
  std::optional<grpc::ByteBuffer> first_request_;  // encoded to learn its size
  Report report_;                                  // of a unary attempt
  std::unique_ptr<BlockLedger> ledger_;            // of a stream with a geometry
  std::unique_ptr<StreamAttempt> stream_;
  std::unique_ptr<FanOut> fan_out_;     // instead of attempts
  std::function<void()> cancel_unary_;  // of an attempt under way
  std::function<bool()> stop_;          // CallOptions::stop
  bool stopped_ = false;                // it said yes
  Driver::Timer next_question_;         // to it, if there is one and it did not
  LossResult result_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_COMPUTE_CALL_H_
