#include "client/call/stream_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/call/block_io.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

// Smaller pieces of side data would be all envelope.
constexpr int64_t kMinPieceBytes = 4 << 10;
constexpr size_t kMaxHeaderBoxes = wire::kMaxBoxes;

}  // namespace

StreamSource::StreamSource(const ComputeJob& job, const BlockLedger* ledger)
    : job_(job), ledger_(ledger) {
  if (!ledger_) return;
  ForEachSideTensor(job.inputs, [&](const TensorFacts& row, const TensorView& view) {
    const bool in_blocks = job.geometry->BlockSize(row) != 0;
    if (!in_blocks && !view.bytes.empty()) sides_.push_back({*row.side_kind, view.bytes});
  });
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
  using Payloads = std::vector<wire::Payload>;
  BlockTensors<Payloads> tensors;
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorRow<TensorView>& row = kTensorRows<TensorView>[i];
    const TensorView* const tensor = TensorOf(job_.inputs, row);
    const int64_t size = geometry.BlockSize(row);
    if (tensor == nullptr || size == 0) continue;
    tensors.*kTensorRows<Payloads>[i].in_block =
        Gather(tensor->bytes, RunsOf(geometry, box, geometry.classes, size), job_.loans);
  }
  return wire::EncodeBlock(box, std::move(tensors));
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
