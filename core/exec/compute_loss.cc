#include <utility>

#include "absl/strings/str_cat.h"
#include "core/exec/loss_run.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

absl::Status CheckSize(const char* name, size_t got, int64_t wanted) {
  if (static_cast<int64_t>(got) == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " has ", got, " bytes; wanted ", wanted));
}

absl::Status CheckView(const char* name, const TensorView& view) {
  return CheckSize(name, view.bytes.size(), ByteCount(view.desc).value_or(-1));
}

absl::Status CheckViews(const LossInputs& inputs) {
  LOSSD_RETURN_IF_ERROR(CheckView("predictions", inputs.predictions));
  LOSSD_RETURN_IF_ERROR(CheckView("targets", inputs.targets));
  if (inputs.class_weights) {
    LOSSD_RETURN_IF_ERROR(CheckView("class_weights", *inputs.class_weights));
  }
  if (inputs.position_weights) {
    LOSSD_RETURN_IF_ERROR(CheckView("position_weights", *inputs.position_weights));
  }
  if (inputs.upstream_gradient) {
    LOSSD_RETURN_IF_ERROR(CheckView("upstream_gradient", *inputs.upstream_gradient));
  }
  return absl::OkStatus();
}

absl::Status CheckOutputs(const LossPlan::BoxBytes& bytes, const LossOutputs& into) {
  LOSSD_RETURN_IF_ERROR(CheckSize("gradient buffer", into.gradient.size(), bytes.gradient));
  LOSSD_RETURN_IF_ERROR(
      CheckSize("position_losses buffer", into.position_losses.size(), bytes.position_losses));
  LOSSD_RETURN_IF_ERROR(
      CheckSize("log_sum_exp buffer", into.log_sum_exp.size(), bytes.log_sum_exp));
  LOSSD_RETURN_IF_ERROR(
      CheckSize("argmax_hits buffer", into.argmax_hits.size(), bytes.argmax_hits));
  return CheckSize("probabilities buffer", into.probabilities.size(), bytes.probabilities);
}

template <class T>
std::optional<TensorDesc> DescOf(const std::optional<T>& view) {
  if (!view) return std::nullopt;
  return view->desc;
}

ByteSpan BytesOf(const std::optional<TensorView>& view) { return view ? view->bytes : ByteSpan(); }

}  // namespace

absl::StatusOr<LossResult> ComputeLoss(const LossSpec& spec, const LossInputs& inputs,
                                       const LossOutputs& into, Executor& executor,
                                       StopToken stop) {
  LossTensorDescs descs{.predictions = inputs.predictions.desc,
                        .target_kind = inputs.target_kind,
                        .targets = inputs.targets.desc,
                        .class_weights = DescOf(inputs.class_weights),
                        .position_weights = DescOf(inputs.position_weights),
                        .upstream_gradient = DescOf(inputs.upstream_gradient)};
  LOSSD_ASSIGN_OR_RETURN(LossPlan plan, LossPlan::Make(spec, std::move(descs)));
  LOSSD_RETURN_IF_ERROR(CheckViews(inputs));
  LOSSD_RETURN_IF_ERROR(CheckOutputs(plan.BytesOf(plan.whole()), into));
  SideBytes side{.targets = {},
                 .class_weights = BytesOf(inputs.class_weights),
                 .position_weights = BytesOf(inputs.position_weights),
                 .upstream_gradient = BytesOf(inputs.upstream_gradient)};
  BoxInputs in{.predictions = ScatteredBytes(inputs.predictions.bytes), .class_probabilities = {}};
  if (plan.targets_come_whole()) {
    side.targets = inputs.targets.bytes;
  } else {
    in.class_probabilities.Append(inputs.targets.bytes);
  }
  LOSSD_ASSIGN_OR_RETURN(const LossRun run,
                         LossRun::Prepare(std::move(plan), side, executor, stop));
  LOSSD_ASSIGN_OR_RETURN(const PartialSums sums,
                         run.RunBox(run.plan().whole(), in, into, executor, stop));
  return run.Finish(sums);
}

}  // namespace lossd
