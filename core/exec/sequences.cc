#include "core/exec/sequences.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/exec/whole_numbers.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

absl::Status BadLength(const char* name, const TensorDesc& desc, ByteSpan bytes, int64_t n,
                       int64_t most) {
  return absl::InvalidArgumentError(absl::StrCat(
      name, "[", n, "] is ", ElementString(desc.dtype, bytes, n), "; wanted 0..", most));
}

bool IsLength(const TensorDesc& desc, ByteSpan bytes, int64_t n, int64_t most) {
  const std::optional<int64_t> length = WholeAt(desc.dtype, bytes, n);
  return length && *length >= 0 && *length <= most;
}

absl::Status CheckSequence(const RunState& run, int64_t n) {
  const LossTensorDescs& tensors = run.plan.tensors();
  const SequencesPlan& plan = *run.plan.sequences();
  if (!IsLength(*tensors.label_lengths, run.side.label_lengths, n, plan.labels)) {
    return BadLength("label_lengths", *tensors.label_lengths, run.side.label_lengths, n,
                     plan.labels);
  }
  if (tensors.input_lengths &&
      !IsLength(*tensors.input_lengths, run.side.input_lengths, n, plan.frames)) {
    return BadLength("input_lengths", *tensors.input_lengths, run.side.input_lengths, n,
                     plan.frames);
  }
  const auto& loss = std::get<CtcLoss>(run.plan.spec().loss);
  const std::vector<int32_t> labels = LabelsOf(run, n);
  for (size_t s = 0; s < labels.size(); ++s) {
    if (labels[s] >= 0 && labels[s] != loss.blank) continue;
    const int64_t at = n * plan.label_sequence_stride + static_cast<int64_t>(s) * plan.label_stride;
    return absl::InvalidArgumentError(absl::StrCat(
        "class_indices[", n, ", ", s, "] is ",
        ElementString(tensors.targets.dtype, run.side.targets, at), "; wanted a label in 0..",
        run.plan.classes() - 1, " other than ctc.blank, ", loss.blank));
  }
  if (loss.infeasible_policy != InfeasiblePolicy::kError) return absl::OkStatus();
  const int64_t needed = FramesNeeded(labels);
  if (needed <= FramesOf(run, n)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("sequence ", n, " has ", FramesOf(run, n), " frames; its ", labels.size(),
                   " labels want at least ", needed, " (ctc.infeasible_policy is ERROR)"));
}

// The tokens of each sequence where the request does not say: those along the fastest axis.
int64_t FastestExtent(const TensorDesc& predictions) {
  return predictions.layout == Layout::kRowMajor ? predictions.shape.back()
                                                 : predictions.shape.front();
}

}  // namespace

int64_t FramesOf(const RunState& run, int64_t n) {
  const auto& desc = run.plan.tensors().input_lengths;
  return desc ? *WholeAt(desc->dtype, run.side.input_lengths, n) : run.plan.sequences()->frames;
}

std::vector<int32_t> LabelsOf(const RunState& run, int64_t n) {
  const LossTensorDescs& tensors = run.plan.tensors();
  const SequencesPlan& plan = *run.plan.sequences();
  const int64_t count = *WholeAt(tensors.label_lengths->dtype, run.side.label_lengths, n);
  std::vector<int32_t> labels(count);
  VisitElements(tensors.targets.dtype, run.side.targets, [&](auto value_at) {
    for (int64_t s = 0; s < count; ++s) {
      int64_t label = 0;
      const int64_t at = n * plan.label_sequence_stride + s * plan.label_stride;
      const bool whole = ToWhole(value_at(at), &label);
      const bool in_range = whole && label >= 0 && label < run.plan.classes();
      labels[s] = in_range ? static_cast<int32_t>(label) : kernels::kInvalidLabel;
    }
  });
  return labels;
}

int64_t FramesNeeded(const std::vector<int32_t>& labels) {
  auto needed = static_cast<int64_t>(labels.size());
  for (size_t s = 1; s < labels.size(); ++s) needed += labels[s] == labels[s - 1] ? 1 : 0;
  return needed;
}

absl::Status CheckSequences(const RunState& run, Executor& executor, StopToken stop) {
  constexpr int64_t kSequencesPerUnit = 64;
  const int64_t count = run.plan.sequences()->count;
  std::vector<absl::Status> units((count + kSequencesPerUnit - 1) / kSequencesPerUnit);
  LOSSD_RETURN_IF_ERROR(
      executor.ForEach(static_cast<int64_t>(units.size()), stop, [&](int64_t unit) {
        const int64_t begin = unit * kSequencesPerUnit;
        for (int64_t n = begin; n < std::min(count, begin + kSequencesPerUnit); ++n) {
          units[unit].Update(CheckSequence(run, n));
        }
      }));
  for (const absl::Status& status : units) LOSSD_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> TokenSequences(const RunState& run) {
  const int64_t tokens = run.plan.counted_positions();
  const auto& desc = run.plan.tensors().sequence_lengths;
  std::vector<int64_t> ends;
  if (!desc) {
    const int64_t length = FastestExtent(run.plan.tensors().predictions);
    for (int64_t end = length; tokens > 0 && end <= tokens; end += length) ends.push_back(end);
    return ends;
  }
  int64_t end = 0;
  for (int64_t n = 0; n < desc->shape[0]; ++n) {
    if (!IsLength(*desc, run.side.sequence_lengths, n, tokens - end)) {
      return BadLength("sequence_lengths", *desc, run.side.sequence_lengths, n, tokens - end);
    }
    end += *WholeAt(desc->dtype, run.side.sequence_lengths, n);
    ends.push_back(end);
  }
  if (end == tokens) return ends;
  return absl::InvalidArgumentError(
      absl::StrCat("sequence_lengths sum to ", end, "; wanted the number of tokens, ", tokens));
}

}  // namespace lossd
