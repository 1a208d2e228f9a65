#include "client/call/stream_attempt.h"

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "client/call/answer_size.h"
#include "client/call/block_io.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

std::string BoxText(const Box& box) {
  return absl::StrCat("{outer ", box.outer_begin, "+", box.outer_count, ", inner ", box.inner_begin,
                      "+", box.inner_count, "}");
}

// The first count that is no count of so many positions: it would overflow where it is added up.
template <class M>
std::optional<int64_t> FirstBadCount(const M& sums, int64_t positions) {
  std::optional<int64_t> bad;
  const auto check = [&](int64_t count) {
    if (!bad && (count < 0 || count > positions)) bad = count;
  };
  for (const auto& row : SumsRows<M>::kCounts) check(sums.*row.member);
  for (const auto& row : SumsRows<M>::kSums) {
    const ExactSum::Portable sum = (sums.*row.member).ToPortable();
    check(sum.nan_terms);
    check(sum.positive_infinities);
    check(sum.negative_infinities);
  }
  return bad;
}

absl::Status CheckSums(const PartialSums& sums, const Geometry& geometry, const Box& box) {
  const int64_t positions = geometry.grouped.value_or(
      box.outer_count * box.inner_count * (geometry.of_elements ? geometry.classes : 1));
  std::optional<int64_t> bad = FirstBadCount(sums, positions);
  if (!bad && sums.policy) bad = FirstBadCount(*sums.policy, positions);
  if (!bad && sums.preference) bad = FirstBadCount(*sums.preference, positions);
  if (!bad) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the server counted ", *bad, " of the ", positions,
                                          " positions of the block ", BoxText(box)));
}

}  // namespace

LossResult MergedResult(const LossResult& summary, const PartialSums& sums) {
  // Where D is 0 a policy decided, on the whole tensor, and so for every call alike.
  return LossResult::From(sums, summary.denominator, summary.loss,
                          summary.correct_count.has_value());
}

StreamAttempt::StreamAttempt(const ComputeJob& job, BlockLedger* ledger,
                             std::function<void(absl::StatusOr<LossResult>)> done)
    : job_(job),
      ledger_(ledger),
      done_(std::move(done)),
      source_(job, ledger),
      first_attempt_(!ledger || !ledger->any_answered()) {}

void StreamAttempt::Start(Driver& driver, absl::Time deadline) {
  static const auto& method = *new std::string(kComputeStreamMethod);
  const int64_t block = ledger_ ? BlockAnswerBytes(job_, ledger_->plan()) : 0;
  stream_ =
      driver.transport().Stream(driver.queue(), {method, deadline, block + kAnswerRoomBytes}, this);
  WriteNext();
}

void StreamAttempt::Cancel() {
  if (failure_.ok()) Fail(absl::AbortedError("no answer is wanted any more"));
}

void StreamAttempt::WriteNext() {
  absl::StatusOr<StreamSource::Part> part = source_.Next();
  if (!part.ok()) return Fail(part.status());
  last_written_ = part->last;
  stream_->Write(part->message, part->last);
}

void StreamAttempt::OnWritten() {
  if (!last_written_ && failure_.ok()) WriteNext();
}

void StreamAttempt::OnMessage(wire::Message message) {
  if (!failure_.ok()) return;
  absl::Status taken = Take(message);
  if (!taken.ok()) Fail(std::move(taken));
}

absl::Status StreamAttempt::Take(const wire::Message& message) {
  LOSSD_ASSIGN_OR_RETURN(wire::DecodedStreamAnswer answer, wire::DecodeStreamResponse(message));
  if (summary_.has_value()) {
    return absl::InternalError("the server sent another message after its summary");
  }
  if (auto* block = std::get_if<wire::DecodedBlockResult>(&answer)) {
    return TakeBlock(std::move(*block));
  }
  if (!ledger_ || ledger_->unanswered() > (held_.has_value() ? 1 : 0)) {
    return absl::InternalError("the server sent its summary before it had answered every block");
  }
  summary_ = std::get<LossResult>(std::move(answer));
  return absl::OkStatus();
}

absl::Status StreamAttempt::TakeBlock(wire::DecodedBlockResult result) {
  const std::optional<int64_t> index = ledger_ ? ledger_->plan().IndexOf(result.box) : std::nullopt;
  if (!index.has_value() || !source_.WasSent(*index) ||
      (held_.has_value() && held_->index == *index)) {
    return absl::InternalError(absl::StrCat("the server answered the block ", BoxText(result.box),
                                            ", which was not sent or is answered already"));
  }
  LOSSD_RETURN_IF_ERROR(CheckSums(result.sums, *job_.geometry, result.box));
  if (ledger_->unanswered() == 1) {
    held_ = HeldBlock{*index, std::move(result)};
    return absl::OkStatus();
  }
  return Commit(*index, result);
}

absl::Status StreamAttempt::Commit(int64_t index, const wire::DecodedBlockResult& result) {
  LOSSD_RETURN_IF_ERROR(PlaceBox(result.outputs, *job_.geometry, result.box, job_.into));
  ledger_->Answer(index, result.sums);
  if (job_.progress) {
    const int64_t position_bytes = job_.geometry->classes * job_.geometry->prediction_size;
    job_.progress(ledger_->answered_positions() * position_bytes,
                  job_.geometry->predictions_bytes());
  }
  return absl::OkStatus();
}

void StreamAttempt::Fail(absl::Status error) {
  failure_ = std::move(error);
  stream_->Cancel();
}

absl::StatusOr<LossResult> StreamAttempt::Outcome(const absl::Status& status) {
  if (!failure_.ok()) return failure_;
  if (!status.ok()) return status;
  if (!summary_.has_value()) {
    return absl::InternalError("the server ended the stream without a summary");
  }
  if (held_.has_value()) LOSSD_RETURN_IF_ERROR(Commit(held_->index, held_->result));
  return first_attempt_ ? *std::move(summary_) : MergedResult(*summary_, ledger_->sums());
}

void StreamAttempt::OnDone(absl::Status status) {
  const auto done = std::move(done_);
  absl::StatusOr<LossResult> outcome = Outcome(status);
  done(std::move(outcome));
}

}  // namespace lossd
