#include "client/stream_source.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/block_io.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

// Smaller pieces of side data would be all envelope.
constexpr int64_t kMinPieceBytes = 4 << 10;
constexpr size_t kMaxHeaderBoxes = 65536;

LossTensorDescs DescsOf(const LossInputs& inputs) {
  const auto desc = [](const std::optional<TensorView>& view) {
    return view ? std::make_optional(view->desc) : std::nullopt;
  };
  return {inputs.predictions.desc,       inputs.target_kind,
          inputs.targets.desc,           desc(inputs.class_weights),
          desc(inputs.position_weights), desc(inputs.upstream_gradient)};
}

}  // namespace

StreamSource::StreamSource(const ComputeJob& job, const BlockLedger* ledger)
    : job_(job), ledger_(ledger) {
  if (!ledger_) return;
  const auto add = [this](wire::SideKind kind, const std::optional<TensorView>& view) {
    if (view.has_value() && !view->bytes.empty()) sides_.push_back({kind, view->bytes});
  };
  add(wire::SideKind::kClassWeights, job.inputs.class_weights);
  add(wire::SideKind::kPositionWeights, job.inputs.position_weights);
  add(wire::SideKind::kUpstreamGradient, job.inputs.upstream_gradient);
  if (job.geometry->probability_size == 0) add(wire::SideKind::kTargets, job.inputs.targets);
  next_block_ = ledger_->NextUnanswered(0);
}

absl::StatusOr<grpc::ByteBuffer> StreamSource::Header() const {
  std::vector<Box> boxes;  // none: everything
  if (ledger_ && ledger_->any_answered()) boxes = ledger_->Missing();
  if (boxes.size() > kMaxHeaderBoxes) {
    return absl::UnavailableError(absl::StrCat("what is left of the broken call is in ",
                                               boxes.size(), " boxes; one call takes at most ",
                                               kMaxHeaderBoxes));
  }
  return wire::EncodeStreamHeader(job_.spec, DescsOf(job_.inputs), boxes);
}

absl::StatusOr<grpc::ByteBuffer> StreamSource::NextSidePiece() {
  const Side& side = sides_[side_];
  const ByteSpan piece =
      side.bytes.subspan(side_offset_, std::max(job_.block_bytes, kMinPieceBytes));
  const auto offset = static_cast<int64_t>(side_offset_);
  side_offset_ += piece.size();
  if (side_offset_ == side.bytes.size()) {
    ++side_;
    side_offset_ = 0;
  }
  return wire::EncodeSideData(side.kind, offset, job_.loans.Lend(piece));
}

absl::StatusOr<grpc::ByteBuffer> StreamSource::NextBlock() {
  const Geometry& geometry = *job_.geometry;
  const Box box = ledger_->plan().At(next_block_);
  next_block_ = ledger_->NextUnanswered(next_block_ + 1);
  const auto gather = [&](const TensorView& tensor, int64_t element_size) {
    return Gather(tensor.bytes, RunsOf(geometry, box, geometry.classes, element_size), job_.loans);
  };
  std::vector<wire::Payload> probabilities;
  if (geometry.probability_size != 0) {
    probabilities = gather(job_.inputs.targets, geometry.probability_size);
  }
  return wire::EncodeBlock(box, std::move(probabilities),
                           gather(job_.inputs.predictions, geometry.prediction_size));
}

absl::StatusOr<grpc::ByteBuffer> StreamSource::EncodeNext() {
  if (!std::exchange(header_sent_, true)) return Header();
  return side_ < sides_.size() ? NextSidePiece() : NextBlock();
}

absl::StatusOr<StreamSource::Part> StreamSource::Next() {
  Part part;
  LOSSD_ASSIGN_OR_RETURN(part.message, EncodeNext());
  part.last = !ledger_ || (side_ == sides_.size() && next_block_ == ledger_->plan().count());
  return part;
}

}  // namespace lossd
