#include "client/lossctl/compute_command.h"

#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/lossctl/compute_inputs.h"
#include "client/lossctl/compute_outputs.h"
#include "client/lossctl/progress_bar.h"
#include "client/lossctl/report.h"
#include "client/lossctl/units.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

// Everything that can be wrong before the server is asked.
struct Job {
  Client client;
  CallOptions options;
  LossSpec spec;
  ComputeInputs inputs;
  ComputeOutputs outputs;
};

absl::StatusOr<Job> Prepare(const ComputeFlags& flags) {
  LOSSD_ASSIGN_OR_RETURN(LossSpec spec, ReadSpec(flags));
  LOSSD_ASSIGN_OR_RETURN(CallOptions options, ReadCallOptions(flags));
  LOSSD_ASSIGN_OR_RETURN(Client client, Connect(flags.server));
  LOSSD_ASSIGN_OR_RETURN(ComputeInputs inputs, ReadInputs(flags, spec));
  LOSSD_ASSIGN_OR_RETURN(ComputeOutputs outputs, ComputeOutputs::Make(flags, spec, inputs));
  return Job{std::move(client), std::move(options), std::move(spec), std::move(inputs),
             std::move(outputs)};
}

absl::StatusOr<LossResult> Call(Job& job, const std::optional<Terminal>& terminal) {
  std::shared_ptr<ProgressBar> bar;
  if (terminal) {
    bar = std::make_shared<ProgressBar>(*terminal);
    job.options.progress = [bar](int64_t done, int64_t total) { bar->Update(done, total); };
  }
  absl::StatusOr<LossResult> result =
      job.client.Compute(job.spec, job.inputs.tensors, job.outputs.into(), job.options);
  if (bar != nullptr) bar->Finish();
  return result;
}

absl::Status Write(const ComputeOutputs& outputs, const std::optional<Terminal>& terminal) {
  if (!terminal) return outputs.Write([](const std::string&) {});
  ProgressBar line(*terminal);
  return outputs.Write(
      [&line](const std::string& path) { line.Say(absl::StrCat("writing ", OneLine(path))); });
}

void HintAtFortranOrder(const ComputeInputs& inputs) {
  std::fprintf(stderr,
               "hint: the predictions' file is in Fortran order, which is taken for column-major: "
               "the class axis is %d, the batch dimension the last; if it is the order of the "
               "bytes only, as NumPy has it: --fortran-order=storage\n",
               inputs.class_axis);
}

std::vector<Row> SpeedRows(const Job& job, const LossResult& result, absl::Duration elapsed) {
  const double seconds = absl::ToDoubleSeconds(elapsed);
  const auto bytes = static_cast<double>(job.inputs.tensors.predictions.bytes.size());
  const auto positions = static_cast<double>(result.position_count);
  return {{"time", HumanTime(elapsed)},
          {"throughput", absl::StrCat(HumanBytes(bytes / seconds), "/s of predictions, ",
                                      HumanCount(positions / seconds), " positions/s")}};
}

}  // namespace

int RunCompute(const ComputeFlags& flags) {
  absl::StatusOr<Job> job = Prepare(flags);
  if (!job.ok()) return BadUsage(job.status().message());

  const std::optional<Terminal> terminal = StandardError();
  const auto start = std::chrono::steady_clock::now();
  const absl::StatusOr<LossResult> result = Call(*job, terminal);
  const auto elapsed = absl::FromChrono(std::chrono::steady_clock::now() - start);
  if (!result.ok()) {
    const int code = Refused(result.status(), *flags.server.server);
    if (absl::IsInvalidArgument(result.status()) && job->inputs.fortran_order) {
      HintAtFortranOrder(job->inputs);
    }
    return code;
  }

  if (const absl::Status written = Write(job->outputs, terminal); !written.ok()) {
    return BadUsage(written.message());
  }
  if (flags.json) return Print(absl::StrCat(Text(ToJson(*result)), "\n"));
  std::vector<Row> rows = Rows(*result);
  for (Row& row : SpeedRows(*job, *result, elapsed)) rows.push_back(std::move(row));
  for (Row& row : job->outputs.Rows()) rows.push_back(std::move(row));
  return Print(Table(rows));
}

}  // namespace lossd::lossctl
