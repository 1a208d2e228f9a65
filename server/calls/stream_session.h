#ifndef LOSSD_SERVER_CALLS_STREAM_SESSION_H_
#define LOSSD_SERVER_CALLS_STREAM_SESSION_H_

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/plan/loss_plan.h"
#include "lossd/loss_result.h"
#include "lossd/loss_spec.h"
#include "protos/wire/limits.h"
#include "protos/wire/request_codec.h"
#include "server/coverage/box_coverage.h"

namespace lossd {

// The protocol of one ComputeStream call, without bytes, threads or gRPC: told what happened, it
// says whether the call may go on and what is due next. Every event has an outcome in every state:
//
//   state     header     side data         block           end of upload      block computed
//   kHeader   kSide or   refused           refused         refused            refused (bug)
//             kBlocks
//   kSide     refused    kSide or kBlocks  refused         refused            refused (bug)
//   kBlocks   refused    refused           kBlocks         kDraining, kDone   kBlocks
//   kDraining refused    refused           refused         refused            kDraining, kDone
//   kDone     refused    refused           refused         refused            refused (bug)
//   kRefused  the first refusal again, whatever happens
//
// An event that is allowed in principle is still refused if its contents are wrong. Refusals are
// kInvalidArgument for the client's mistakes, kResourceExhausted over a limit, kInternal for a bug.
class StreamSession {
 public:
  enum class State : int8_t {
    kHeader,    // nothing has come
    kSide,      // the plan is made, side tensors are coming
    kBlocks,    // all side tensors are here: LossRun::Prepare is due, then blocks are computed
    kDraining,  // the upload is complete, blocks are being computed
    kDone,      // every block is computed: the summary is due
    kRefused,
  };

  struct SideTensor {
    SideKind kind;
    int64_t bytes;
  };
  // What a header comes to.
  struct Planned {
    LossPlan plan;
    std::vector<SideTensor> side;  // those that are to come, in their order, none empty
    BoxCoverage coverage;
  };

  explicit StreamSession(const wire::Limits& limits) : limits_(limits) {}

  // All checks of a header that need no session. A lock that guards the session need not be held
  // meanwhile: a header of many boxes takes a while. `boxes` empty: everything.
  static absl::StatusOr<Planned> Plan(const LossSpec& spec, const LossTensorDescs& tensors,
                                      std::vector<Box> boxes, const wire::Limits& limits);

  // Refused unless a header is wanted now, whatever it says.
  absl::Status CheckHeaderIsWanted();

  // The header.
  absl::Status OnHeader(absl::StatusOr<Planned> planned);
  absl::Status OnHeader(const LossSpec& spec, const LossTensorDescs& tensors,
                        std::vector<Box> boxes) {
    return OnHeader(Plan(spec, tensors, std::move(boxes), limits_));
  }

  // A piece of a side tensor; OK: its bytes go to [offset, offset + size) of that tensor, which is
  // where the pieces before it ended.
  absl::Status OnSideData(SideKind kind, int64_t offset, int64_t size);

  // A block with that many bytes of each tensor; OK: it may be computed.
  absl::Status OnBlock(const Box& box, const BlockTensors<int64_t>& bytes);

  absl::Status OnEndOfUpload();

  // A block that OnBlock had admitted was computed.
  absl::Status OnBlockComputed(const PartialSums& sums);

  // Something outside failed (preparing, computing): the call is refused with that status, unless
  // it was already. Returns the status of the call.
  absl::Status Refuse(absl::Status status);

  State state() const { return state_; }

  // Once the header is accepted.
  const LossPlan& plan() const { return planned_->plan; }

  // Size of a side tensor, 0 where there is none; and of all of them. Once the header is accepted.
  int64_t side_bytes(SideKind kind) const;
  int64_t all_side_bytes() const;

  // Positions of the boxes of the header, once it is accepted.
  int64_t declared_positions() const { return planned_->coverage.declared_positions(); }

  // What is held to keep account of boxes and blocks. Once the header is accepted.
  int64_t coverage_bytes() const { return planned_->coverage.bytes(); }

  // The sums of all blocks computed so far.
  const PartialSums& sums() const { return sums_; }

 private:
  absl::Status CheckSide(SideKind kind, int64_t offset, int64_t size) const;
  absl::Status CheckBlock(const Box& box, const BlockTensors<int64_t>& bytes) const;
  absl::Status CheckEnd() const;

  wire::Limits limits_;
  State state_ = State::kHeader;
  absl::Status refusal_;
  std::optional<Planned> planned_;  // once the header is accepted
  size_t side_index_ = 0;           // of planned_->side: the one that is coming
  int64_t side_offset_ = 0;         // how much of it came
  int64_t computing_ = 0;           // blocks admitted and not computed
  PartialSums sums_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_STREAM_SESSION_H_
