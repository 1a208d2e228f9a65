#ifndef LOSSD_SERVER_CALLS_STREAM_CALL_H_
#define LOSSD_SERVER_CALLS_STREAM_CALL_H_

#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/byte_buffer.h>

#include <mutex>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/exec/loss_run.h"
#include "protos/wire/request_codec.h"
#include "server/admission/byte_budget.h"
#include "server/admission/message_gate.h"
#include "server/admission/stream_cost.h"
#include "server/calls/bounded_queue.h"
#include "server/calls/environment.h"
#include "server/calls/event.h"
#include "server/calls/loss_call.h"
#include "server/calls/side_buffers.h"
#include "server/calls/stream_session.h"

namespace lossd {

// One ComputeStream call, from waiting for it to the last event about it.
//
// One thread at a time has the handling role: a polling thread for small messages, else a task of
// the executor. It takes messages in order, and acts on what StreamSession says about each before
// the next. Admitted blocks are computed outside the role, several at once, and answered as they
// finish. A message counts as in flight from its arrival until it is handled, a block until its
// answer is on the wire; at kMaxInFlight nothing more is read, and gRPC's flow control holds the
// client back. Behind the header nothing is read before the budget has granted what the stream may
// hold.
//
// Of streams that are read behind their header there are few at a time (Environment::streams). One
// that has a place keeps it to its end, unless it does not use it, or others wait and it has had
// its turn; it then waits for another before it reads on.
class StreamCall final : private LossCall {
 public:
  // Waits for a call; when one comes, the next is waited for. `environment` outlives the server's
  // completion queue. False: there is no memory for it.
  static bool Accept(const Environment& environment);

  StreamCall(const StreamCall&) = delete;
  StreamCall& operator=(const StreamCall&) = delete;

 private:
  // One block being computed, one waiting for it, one being written, one being read: with fewer the
  // stages wait for each other, with more only memory grows.
  static constexpr int kMaxInFlight = 4;

  // What the client sent: a message, or the end of the upload.
  struct Arrival {
    grpc::ByteBuffer message;
    bool end = false;
    Instant since;  // when it came; once it is taken, when it was
  };
  struct Answer {
    grpc::ByteBuffer message;
    bool last = false;
  };
  using Block = std::optional<wire::DecodedBlock>;
  // What becomes of the handling role: there is nothing to do, this thread goes on, a task does.
  enum class Next : int8_t { kNothing, kHere, kSubmitted };

  explicit StreamCall(const Environment& environment)
      : LossCall(environment, Method::kComputeStream, environment.streams),
        session_(environment.limits) {}
  ~StreamCall() override = default;

  void Request(void* tag) override;
  void Start() override;
  void OnBrokenOff() override;
  void OnWithdrawn() override { Drop(); }
  void OnRead(bool ok);
  void OnWrite(bool ok);
  void OnFinish(bool ok);
  void OnPlace(MessageGate::Place place) override;
  void OnAnswer(absl::StatusOr<ByteBudget::Grant> answer) override;
  void OnDue(Instant now) override;
  void OnWanted(Instant now) override;

  // The handling role: takes arrivals until there is none, the next belongs on the executor, or
  // this thread has a block to compute. Uses up one reference.
  void Handle(bool on_executor);
  void Run() override { Handle(/*on_executor=*/true); }
  void SubmitHandle();
  std::optional<Arrival> TakeArrival();

  // Deals with one arrival; an admitted block is returned for computing.
  absl::StatusOr<Block> Deal(const Arrival& arrival);
  absl::StatusOr<Block> DealWith(wire::DecodedHeader header);
  absl::StatusOr<Block> DealWith(wire::DecodedSideData side_data);
  absl::StatusOr<Block> DealWith(wire::DecodedBlock block);
  absl::Status Prepare();
  void GoOn(bool prepare);

  // Both release the block's bytes when it is computed.
  void Compute(wire::DecodedBlock block);
  absl::StatusOr<grpc::ByteBuffer> ComputeBlock(wire::DecodedBlock block, PartialSums& sums) const;

  // With mutex_ held.
  bool HasPlace();
  bool UsesPlace(Instant now) const;
  absl::Status AskForRoom();
  absl::Status AskForGrant();
  void GiveBack();
  absl::Status PayFor(int64_t message_bytes);
  absl::Status PayForCoverage(int64_t bytes);
  int64_t LargestToCome() const;
  Instant NextDue(Instant now) const;
  Next NextStep(bool stay, bool on_executor);
  bool MayPrepare();
  bool IsCheap(const Arrival& arrival) const;
  void Read();
  void Write();
  void Written();
  void Fail(absl::Status status);
  void Finish();
  void QueueSummaryIfDue();
  void BreakOff();

  RawLossService::Stream stream_{&context_};

  // Used by the handling role until `run_` is set, read-only afterwards.
  SideBuffers side_;
  std::optional<LossRun> run_;

  // Guards all that follows, and all that is LossCall's but stop_.
  std::mutex mutex_;
  ByteBudget::Grant coverage_grant_;  // of what session_ keeps of boxes and blocks
  bool waits_for_place_ = false;
  int64_t read_before_place_ = 0;         // received_bytes_ when it got the place
  std::optional<StreamCost> cost_;        // once the header is accepted
  std::optional<Instant> writing_since_;  // while a message is being written
  int64_t received_bytes_ = 0;            // of messages behind the header
  int64_t paid_message_bytes_ = kUsualMessageBytes;
  StreamSession session_;
  BoundedQueue<Arrival, kMaxInFlight> arrivals_;
  BoundedQueue<Answer, kMaxInFlight + 1> answers_;  // the summary is not in flight
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  int in_flight_ = 0;
  bool header_asked_for_ = false;
  bool granted_ = false;
  bool handling_ = false;
  bool preparing_ = false;  // outside of the role
  bool reading_ = false;
  bool writing_ = false;
  bool upload_over_ = false;
  bool failed_ = false;    // Finish with failure_ as soon as no write is outstanding
  bool given_up_ = false;  // on a peer that takes nothing
  bool over_ = false;      // the status was sent or the call is dead: no further operation
  grpc::Status failure_;

  MemberEvent<StreamCall> read_event_{this, &StreamCall::OnRead};
  MemberEvent<StreamCall> write_event_{this, &StreamCall::OnWrite};
  MemberEvent<StreamCall> finish_event_{this, &StreamCall::OnFinish};
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_STREAM_CALL_H_
