#include "server/coverage/box_coverage.h"

#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

int64_t Positions(const Box& box) { return box.outer_count * box.inner_count; }

bool Contains(const Box& whole, const Box& part) {
  return whole.outer_begin <= part.outer_begin && whole.inner_begin <= part.inner_begin &&
         part.outer_begin + part.outer_count <= whole.outer_begin + whole.outer_count &&
         part.inner_begin + part.inner_count <= whole.inner_begin + whole.inner_count;
}

}  // namespace

BoxCoverage::BoxCoverage(DeclaredBoxes declared, int64_t outer)
    : declared_(std::move(declared)), covered_(declared_.boxes().size()), arrived_(outer) {
  for (const Box& box : declared_.boxes()) declared_positions_ += Positions(box);
}

absl::StatusOr<BoxCoverage> BoxCoverage::Make(int64_t outer, std::vector<Box> declared) {
  LOSSD_ASSIGN_OR_RETURN(DeclaredBoxes boxes, DeclaredBoxes::Make(std::move(declared)));
  return BoxCoverage(std::move(boxes), outer);
}

absl::Status BoxCoverage::Add(const Box& block) {
  const std::optional<int32_t> index = declared_.Find(block.outer_begin, block.inner_begin);
  const Box* const box = index ? &declared_.boxes()[*index] : nullptr;
  if (box == nullptr || !Contains(*box, block)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "block (%s) is not inside one box; wanted blocks inside the boxes of the header%s",
        BoxString(block), box ? absl::StrFormat(", here (%s)", BoxString(*box)) : ""));
  }
  if (!arrived_.Insert(block)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "block (%s) overlaps an earlier one; wanted every position once", BoxString(block)));
  }
  if (arrived_.entries() > kMaxEntries) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "the blocks up to (%s) make %d separate pieces; this server follows at most %d (send "
        "neighbouring blocks one after the other)",
        BoxString(block), arrived_.entries(), kMaxEntries));
  }
  covered_[*index] += Positions(block);
  arrived_positions_ += Positions(block);
  return absl::OkStatus();
}

absl::Status BoxCoverage::Complete() const {
  if (arrived_positions_ == declared_positions_) return absl::OkStatus();
  for (size_t i = 0; i < covered_.size(); ++i) {
    const Box& box = declared_.boxes()[i];
    if (covered_[i] == Positions(box)) continue;
    return absl::InvalidArgumentError(absl::StrFormat(
        "the upload ended after %d of %d positions; box (%s) got %d of %d", arrived_positions_,
        declared_positions_, BoxString(box), covered_[i], Positions(box)));
  }
  return absl::InternalError("coverage: the counts disagree");
}

}  // namespace lossd
