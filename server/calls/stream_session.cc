#include "server/calls/stream_session.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

using wire::SideKind;

constexpr size_t kMaxBoxes = 65536;  // stated in loss.proto

std::string_view Name(SideKind kind) {
  switch (kind) {
    case SideKind::kClassWeights:
      return "class_weights";
    case SideKind::kPositionWeights:
      return "position_weights";
    case SideKind::kUpstreamGradient:
      return "upstream_gradient";
    case SideKind::kTargets:
      return "targets";
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

}  // namespace

absl::Status StreamSession::Refuse(absl::Status status) {
  if (status.ok() || state_ == State::kRefused) return refusal_;
  state_ = State::kRefused;
  refusal_ = std::move(status);
  return refusal_;
}

absl::Status StreamSession::OnHeader(const LossSpec& spec, const LossTensorDescs& tensors,
                                     std::vector<Box> boxes) {
  if (state_ != State::kHeader) return Refuse(OutOfPlace("a second header", Wanted(state_)));
  if (absl::Status made = MakePlan(spec, tensors, std::move(boxes)); !made.ok()) {
    return Refuse(std::move(made));
  }
  state_ = side_.empty() ? State::kBlocks : State::kSide;
  return absl::OkStatus();
}

absl::Status StreamSession::MakePlan(const LossSpec& spec, const LossTensorDescs& tensors,
                                     std::vector<Box> boxes) {
  if (boxes.size() > kMaxBoxes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("boxes has %d entries; wanted at most %d", boxes.size(), kMaxBoxes));
  }
  LOSSD_ASSIGN_OR_RETURN(plan_, LossPlan::Make(spec, tensors));
  LOSSD_RETURN_IF_ERROR(ListSideTensors());
  for (const Box& box : boxes) LOSSD_RETURN_IF_ERROR(plan_->CheckBox(box));
  if (boxes.empty() && plan_->positions() > 0) boxes.push_back(plan_->whole());
  LOSSD_ASSIGN_OR_RETURN(coverage_, BoxCoverage::Make(plan_->outer(), std::move(boxes)));
  // The product cannot overflow: the plan has multiplied more than that.
  const int64_t bytes = coverage_->declared_positions() * plan_->classes() * SizeOf(plan_->dtype());
  if (bytes > limits_.max_tensor_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the predictions of this call are %d bytes; this server takes at most %d "
                        "(--max-tensor-bytes)",
                        bytes, limits_.max_tensor_bytes));
  }
  return absl::OkStatus();
}

absl::Status StreamSession::ListSideTensors() {
  int64_t total = 0;
  const auto add = [&](SideKind kind, const TensorDesc& desc) -> absl::Status {
    const std::optional<int64_t> bytes = ByteCount(desc);
    if (!bytes || *bytes > limits_.max_side_bytes - total) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "%s of shape %s brings the side tensors above %d bytes, the most this server takes "
          "(--max-side-bytes)",
          Name(kind), ShapeString(desc.shape), limits_.max_side_bytes));
    }
    total += *bytes;
    if (*bytes > 0) side_.push_back({kind, *bytes});
    return absl::OkStatus();
  };
  const LossTensorDescs& tensors = plan_->tensors();
  if (tensors.class_weights) {
    LOSSD_RETURN_IF_ERROR(add(SideKind::kClassWeights, *tensors.class_weights));
  }
  if (tensors.position_weights) {
    LOSSD_RETURN_IF_ERROR(add(SideKind::kPositionWeights, *tensors.position_weights));
  }
  if (tensors.upstream_gradient) {
    LOSSD_RETURN_IF_ERROR(add(SideKind::kUpstreamGradient, *tensors.upstream_gradient));
  }
  if (plan_->targets_come_whole()) {
    LOSSD_RETURN_IF_ERROR(add(SideKind::kTargets, tensors.targets));
  }
  return absl::OkStatus();
}

absl::Status StreamSession::OnSideData(SideKind kind, int64_t offset, int64_t size) {
  if (absl::Status checked = CheckSide(kind, offset, size); !checked.ok()) {
    return Refuse(std::move(checked));
  }
  side_offset_ += size;
  if (side_offset_ == side_[side_index_].bytes) {
    side_offset_ = 0;
    ++side_index_;
  }
  if (side_index_ == side_.size()) state_ = State::kBlocks;
  return absl::OkStatus();
}

absl::Status StreamSession::CheckSide(SideKind kind, int64_t offset, int64_t size) const {
  if (state_ == State::kRefused) return refusal_;
  if (state_ != State::kSide) {
    return OutOfPlace(absl::StrFormat("side data (%s)", Name(kind)), Wanted(state_));
  }
  const SideTensor& wanted = side_[side_index_];
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

absl::Status StreamSession::OnBlock(const Box& box, int64_t predictions,
                                    int64_t class_probabilities) {
  absl::Status checked = CheckBlock(box, predictions, class_probabilities);
  if (checked.ok()) checked = coverage_->Add(box);
  if (!checked.ok()) return Refuse(std::move(checked));
  ++computing_;
  return absl::OkStatus();
}

absl::Status StreamSession::CheckBlock(const Box& box, int64_t predictions,
                                       int64_t class_probabilities) const {
  if (state_ == State::kRefused) return refusal_;
  if (state_ == State::kSide) {
    return OutOfPlace(
        "a block", absl::StrFormat("%s from byte %d", Name(side_[side_index_].kind), side_offset_));
  }
  if (state_ != State::kBlocks) return OutOfPlace("a block", Wanted(state_));
  LOSSD_RETURN_IF_ERROR(plan_->CheckBox(box));
  const LossPlan::BoxBytes wanted = plan_->BytesOf(box);
  if (predictions != wanted.predictions) {
    return absl::InvalidArgumentError(
        absl::StrFormat("predictions of block (%s) are %d bytes; wanted %d", BoxString(box),
                        predictions, wanted.predictions));
  }
  if (class_probabilities != wanted.class_probabilities) {
    return absl::InvalidArgumentError(
        absl::StrFormat("class_probabilities of block (%s) are %d bytes; wanted %d", BoxString(box),
                        class_probabilities, wanted.class_probabilities));
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
      return absl::InvalidArgumentError(
          absl::StrFormat("the upload ended after %d of %d bytes of %s", side_offset_,
                          side_[side_index_].bytes, Name(side_[side_index_].kind)));
    case State::kBlocks:
      return coverage_->Complete();
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
  for (const SideTensor& tensor : side_) {
    if (tensor.kind == kind) return tensor.bytes;
  }
  return 0;
}

int64_t StreamSession::all_side_bytes() const {
  int64_t total = 0;
  for (const SideTensor& tensor : side_) total += tensor.bytes;
  return total;
}

}  // namespace lossd
