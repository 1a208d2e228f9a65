#include "server/coverage/box_coverage.h"

#include <utility>

#include "absl/strings/str_format.h"

namespace lossd {
namespace {

int64_t Positions(const Box& box) { return box.outer_count * box.inner_count; }

bool Contains(const Box& whole, const Box& part) {
  return whole.outer_begin <= part.outer_begin && whole.inner_begin <= part.inner_begin &&
         part.outer_begin + part.outer_count <= whole.outer_begin + whole.outer_count &&
         part.inner_begin + part.inner_count <= whole.inner_begin + whole.inner_count;
}

}  // namespace

std::string BoxString(const Box& box) {
  return absl::StrFormat("outer %d..%d, inner %d..%d", box.outer_begin,
                         box.outer_begin + box.outer_count, box.inner_begin,
                         box.inner_begin + box.inner_count);
}

absl::StatusOr<BoxCoverage> BoxCoverage::Make(int64_t outer, int64_t inner,
                                              std::vector<Box> declared) {
  BoxCoverage coverage(outer, inner);
  for (size_t i = 0; i < declared.size(); ++i) {
    if (!coverage.boxes_.Insert(declared[i], static_cast<int64_t>(i))) {
      return absl::InvalidArgumentError(
          absl::StrFormat("boxes[%d] (%s) overlaps an earlier one; wanted disjoint boxes", i,
                          BoxString(declared[i])));
    }
    if (coverage.boxes_.entries() > kMaxEntries) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "the first %d of %d boxes make %d separate pieces; this server follows at most %d", i + 1,
          declared.size(), coverage.boxes_.entries(), kMaxEntries));
    }
    coverage.declared_positions_ += Positions(declared[i]);
  }
  coverage.covered_.resize(declared.size());
  coverage.declared_ = std::move(declared);
  return coverage;
}

absl::Status BoxCoverage::Add(const Box& block) {
  const std::optional<int64_t> tag = boxes_.Find(block.outer_begin, block.inner_begin);
  if (!tag || !Contains(declared_[*tag], block)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "block (%s) is not inside one box; wanted blocks inside the boxes of the header%s",
        BoxString(block), tag ? absl::StrFormat(", here (%s)", BoxString(declared_[*tag])) : ""));
  }
  if (!arrived_.Insert(block, 0)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "block (%s) overlaps an earlier one; wanted every position once", BoxString(block)));
  }
  if (arrived_.entries() > kMaxEntries) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "the blocks up to (%s) make %d separate pieces; this server follows at most %d (send "
        "neighbouring blocks one after the other)",
        BoxString(block), arrived_.entries(), kMaxEntries));
  }
  covered_[*tag] += Positions(block);
  arrived_positions_ += Positions(block);
  return absl::OkStatus();
}

absl::Status BoxCoverage::Complete() const {
  if (arrived_positions_ == declared_positions_) return absl::OkStatus();
  for (size_t i = 0; i < declared_.size(); ++i) {
    if (covered_[i] == Positions(declared_[i])) continue;
    return absl::InvalidArgumentError(absl::StrFormat(
        "the upload ended after %d of %d positions; box (%s) got %d of %d", arrived_positions_,
        declared_positions_, BoxString(declared_[i]), covered_[i], Positions(declared_[i])));
  }
  return absl::InternalError("coverage: the counts disagree");
}

}  // namespace lossd
