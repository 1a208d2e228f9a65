#include "server/calls/stream_session.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

constexpr size_t kMaxBoxes = wire::kMaxBoxes;

std::string_view Name(SideKind kind) {
  for (const TensorFacts& row : kTensorRows<TensorDesc>) {
    if (row.side_kind == kind) return row.member_name();
  }
  return "unknown side tensor";
}

absl::Status OutOfPlace(std::string_view what, std::string_view wanted) {
  return absl::InvalidArgumentError(absl::StrFormat("%s came where %s was wanted", what, wanted));
}

// What a message may be in states in which the answer does not depend on details.
std::string_view Wanted(StreamSession::State state) {
  switch (state) {
    case StreamSession::State::kHeader:
      return "the header";
    case StreamSession::State::kSide:
      return "side data";
    case StreamSession::State::kBlocks:
      return "a block or the end of the upload";
    default:
      return "nothing more";
  }
}

// The tensors that are sent whole before the first block.
absl::StatusOr<std::vector<StreamSession::SideTensor>> ListSideTensors(const LossPlan& plan,
                                                                       const wire::Limits& limits) {
  std::vector<StreamSession::SideTensor> side;
  int64_t total = 0;
  absl::Status status;
  ForEachSideTensor(plan.tensors(), [&](const TensorFacts& row, const TensorDesc& desc) {
    if (plan.IsInBlocks(row) || !status.ok()) return;
    const std::optional<int64_t> bytes = ByteCount(desc);
    if (!bytes || *bytes > limits.max_side_bytes - total) {
      status = absl::ResourceExhaustedError(absl::StrFormat(
          "%s of shape %s brings the side tensors above %d bytes, the most this server takes "
          "(--max-side-bytes)",
          row.member_name(), ShapeString(desc.shape), limits.max_side_bytes));
      return;
    }
    total += *bytes;
    if (*bytes > 0) side.push_back({*row.side_kind, *bytes});
  });
  if (!status.ok()) return status;
  return side;
}

}  // namespace

absl::Status StreamSession::Refuse(absl::Status status) {
  if (status.ok() || state_ == State::kRefused) return refusal_;
  state_ = State::kRefused;
  refusal_ = std::move(status);
  return refusal_;
}

absl::Status StreamSession::CheckHeaderIsWanted() {
  if (state_ == State::kHeader) return absl::OkStatus();
  return Refuse(OutOfPlace("a second header", Wanted(state_)));
}

absl::Status StreamSession::OnHeader(absl::StatusOr<Planned> planned) {
  LOSSD_RETURN_IF_ERROR(CheckHeaderIsWanted());
  if (!planned.ok()) return Refuse(planned.status());
  planned_ = *std::move(planned);
  state_ = planned_->side.empty() ? State::kBlocks : State::kSide;
  return absl::OkStatus();
}

absl::StatusOr<StreamSession::Planned> StreamSession::Plan(const LossSpec& spec,
                                                           const LossTensorDescs& tensors,
                                                           std::vector<Box> boxes,
                                                           const wire::Limits& limits) {
  if (boxes.size() > kMaxBoxes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("boxes has %d entries; wanted at most %d", boxes.size(), kMaxBoxes));
  }
  LOSSD_ASSIGN_OR_RETURN(LossPlan plan, LossPlan::Make(spec, tensors));
  LOSSD_ASSIGN_OR_RETURN(std::vector<SideTensor> side, ListSideTensors(plan, limits));
  for (const Box& box : boxes) LOSSD_RETURN_IF_ERROR(plan.CheckBox(box));
  if (boxes.empty() && plan.positions() > 0) boxes.push_back(plan.whole());
  LOSSD_ASSIGN_OR_RETURN(BoxCoverage coverage, BoxCoverage::Make(plan.outer(), std::move(boxes)));
  // The product cannot overflow: the plan has multiplied more than that.
  const int64_t bytes = coverage.declared_positions() * plan.classes() * SizeOf(plan.dtype());
  if (bytes > limits.max_tensor_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the predictions of this call are %d bytes; this server takes at most %d "
                        "(--max-tensor-bytes)",
                        bytes, limits.max_tensor_bytes));
  }
  return Planned{std::move(plan), std::move(side), std::move(coverage)};
}

absl::Status StreamSession::OnSideData(SideKind kind, int64_t offset, int64_t size) {
  if (absl::Status checked = CheckSide(kind, offset, size); !checked.ok()) {
    return Refuse(std::move(checked));
  }
  side_offset_ += size;
  if (side_offset_ == planned_->side[side_index_].bytes) {
    side_offset_ = 0;
    ++side_index_;
  }
  if (side_index_ == planned_->side.size()) state_ = State::kBlocks;
  return absl::OkStatus();
}

absl::Status StreamSession::CheckSide(SideKind kind, int64_t offset, int64_t size) const {
  if (state_ == State::kRefused) return refusal_;
  if (state_ != State::kSide) {
    return OutOfPlace(absl::StrFormat("side data (%s)", Name(kind)), Wanted(state_));
  }
  const SideTensor& wanted = planned_->side[side_index_];
  if (kind != wanted.kind || offset != side_offset_) {
    return absl::InvalidArgumentError(
        absl::StrFormat("side data is %s from byte %d; wanted %s from byte %d", Name(kind), offset,
                        Name(wanted.kind), side_offset_));
  }
  if (size < 1 || size > wanted.bytes - side_offset_) {
    return absl::InvalidArgumentError(
        absl::StrFormat("side data from byte %d of %s is %d bytes; wanted 1..%d", offset,
                        Name(kind), size, wanted.bytes - side_offset_));
  }
  return absl::OkStatus();
}

absl::Status StreamSession::OnBlock(const Box& box, const BlockTensors<int64_t>& bytes) {
  absl::Status checked = CheckBlock(box, bytes);
  if (checked.ok()) checked = planned_->coverage.Add(box);
  if (!checked.ok()) return Refuse(std::move(checked));
  ++computing_;
  return absl::OkStatus();
}

absl::Status StreamSession::CheckBlock(const Box& box, const BlockTensors<int64_t>& bytes) const {
  if (state_ == State::kRefused) return refusal_;
  if (state_ == State::kSide) {
    return OutOfPlace(
        "a block",
        absl::StrFormat("%s from byte %d", Name(planned_->side[side_index_].kind), side_offset_));
  }
  if (state_ != State::kBlocks) return OutOfPlace("a block", Wanted(state_));
  LOSSD_RETURN_IF_ERROR(planned_->plan.CheckBox(box));
  const LossPlan::BoxBytes wanted = planned_->plan.BytesOf(box);
  // The last field, the predictions, first: without them a block makes no sense.
  for (size_t i = kTensorCount; i-- > 0;) {
    const TensorRow<int64_t>& row = kTensorRows<int64_t>[i];
    if (row.block_field == 0 || bytes.*row.in_block == wanted.*row.in_block) continue;
    return absl::InvalidArgumentError(absl::StrFormat("%s of block (%s) are %d bytes; wanted %d",
                                                      row.name, BoxString(box), bytes.*row.in_block,
                                                      wanted.*row.in_block));
  }
  return absl::OkStatus();
}

absl::Status StreamSession::OnEndOfUpload() {
  if (absl::Status checked = CheckEnd(); !checked.ok()) return Refuse(std::move(checked));
  state_ = computing_ == 0 ? State::kDone : State::kDraining;
  return absl::OkStatus();
}

absl::Status StreamSession::CheckEnd() const {
  switch (state_) {
    case State::kRefused:
      return refusal_;
    case State::kHeader:
      return OutOfPlace("the end of the upload", Wanted(state_));
    case State::kSide:
      return absl::InvalidArgumentError(absl::StrFormat(
          "the upload ended after %d of %d bytes of %s", side_offset_,
          planned_->side[side_index_].bytes, Name(planned_->side[side_index_].kind)));
    case State::kBlocks:
      return planned_->coverage.Complete();
    default:
      return OutOfPlace("a second end of the upload", Wanted(state_));
  }
}

absl::Status StreamSession::OnBlockComputed(const PartialSums& sums) {
  if (state_ == State::kRefused) return refusal_;
  if (computing_ == 0) {
    return Refuse(absl::InternalError("a block was computed that had not been admitted"));
  }
  sums_.Merge(sums);
  if (--computing_ == 0 && state_ == State::kDraining) state_ = State::kDone;
  return absl::OkStatus();
}

int64_t StreamSession::side_bytes(SideKind kind) const {
  for (const SideTensor& tensor : planned_->side) {
    if (tensor.kind == kind) return tensor.bytes;
  }
  return 0;
}

int64_t StreamSession::all_side_bytes() const {
  int64_t total = 0;
  for (const SideTensor& tensor : planned_->side) total += tensor.bytes;
  return total;
}

}  // namespace lossd
