#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/exec/loss_run.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

absl::Status CheckSize(std::string_view name, const char* what, size_t got, int64_t wanted) {
  if (static_cast<int64_t>(got) == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(name), what, " has ", got, " bytes; wanted ", wanted));
}

absl::Status CheckViews(const LossInputs& inputs) {
  return CheckTensors(inputs, [](const TensorFacts& row, const TensorView& view) {
    return CheckSize(row.member_name(), "", view.bytes.size(), ByteCount(view.desc).value_or(-1));
  });
}

absl::Status CheckOutputs(const LossPlan::BoxBytes& bytes, const LossOutputs& into) {
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<MutableByteSpan>& row = kOutputRows<MutableByteSpan>[i];
    LOSSD_RETURN_IF_ERROR(CheckSize(row.name, " buffer", (into.*row.member).size(),
                                    bytes.*kOutputRows<int64_t>[i].member));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LossResult> ComputeLoss(const LossSpec& spec, const LossInputs& inputs,
                                       const LossOutputs& into, Executor& executor,
                                       StopToken stop) {
  LOSSD_ASSIGN_OR_RETURN(LossPlan plan, LossPlan::Make(spec, DescsOf(inputs)));
  LOSSD_RETURN_IF_ERROR(CheckViews(inputs));
  LOSSD_RETURN_IF_ERROR(CheckOutputs(plan.BytesOf(plan.whole()), into));
  SideBytes side;
  BoxInputs in;
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorRow<TensorView>& row = kTensorRows<TensorView>[i];
    const TensorView* const tensor = TensorOf(inputs, row);
    if (tensor == nullptr) continue;
    if (plan.IsInBlocks(row)) {
      in.*kTensorRows<ScatteredBytes>[i].in_block = ScatteredBytes(tensor->bytes);
    } else {
      side.*kTensorRows<ByteSpan>[i].whole = tensor->bytes;
    }
  }
  LOSSD_ASSIGN_OR_RETURN(const LossRun run,
                         LossRun::Prepare(std::move(plan), side, executor, stop));
  LOSSD_ASSIGN_OR_RETURN(const PartialSums sums,
                         run.RunBox(run.plan().whole(), in, into, executor, stop));
  return run.Finish(sums);
}

}  // namespace lossd
