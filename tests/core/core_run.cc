#include "tests/core/core_run.h"
#include "lossd/shapes.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/exec/loss_run.h"
#include "gtest/gtest.h"
#include "tests/core/matchers.h"
#include "tests/support/oracle_shape.h"
#include "tests/support/random.h"

namespace lossd::oracle {
namespace {

// Collects what is wrong with one answer.
class Findings {
 public:
  explicit Findings(const LossCase& loss_case) : loss_case_(loss_case) {}

  void Check(const char* quantity, Real got, Real want, Real bound) {
    Note(quantity, Judge(quantity, 0, got, want, bound, DType::kF64));
  }

  void CheckArray(const char* quantity, const GuardedBuffer& got, DType dtype,
                  const Bounded& want) {
    const int64_t count = static_cast<int64_t>(got.bytes().size()) / SizeOf(dtype);
    if (count == 0) return;  // not wanted
    if (count != static_cast<int64_t>(want.values.size())) {
      Add(absl::StrFormat("%s has %d elements; wanted %d", quantity, count, want.values.size()));
      return;
    }
    Real worst = 0;
    for (int64_t i = 0; i < count; ++i) {
      const Real element = Widen(dtype, got.bytes().data() + i * SizeOf(dtype));
      worst = std::fmax(worst, Judge(quantity, i, element, want.values[i], want.bounds[i], dtype));
    }
    Note(quantity, worst);
  }

  void CheckCount(const char* quantity, int64_t got, int64_t want) {
    if (got != want) Add(absl::StrFormat("%s is %d; wanted %d", quantity, got, want));
  }

  void Add(const std::string& finding) {
    constexpr int kShown = 5;
    if (++count_ <= kShown) absl::StrAppend(&text_, "\n  ", finding);
  }

  std::string Report() const {
    if (count_ == 0) return "";
    return absl::StrCat(count_, " disagreements:", text_, "\nin ", Describe(loss_case_),
                        "\nLOSSD_TEST_SEED=", TestSeed());
  }

 private:
  Real Judge(const char* quantity, int64_t index, Real got, Real want, Real bound, DType out) {
    // The zeros of gradients and probabilities are +0; a loss of -0 is a loss of 0.
    if (out == DType::kF64 && got == 0 && std::strstr(quantity, "loss") != nullptr) got = 0;
    const Real ratio = ErrorRatio(got, want, bound, out);
    if (!(ratio <= 1)) {
      Add(absl::StrFormat("%s[%d] is %.20Lg; wanted %.20Lg within %.3Lg (error/bound %.3Lg)",
                          quantity, index, got, want, bound, ratio));
    }
    return ratio;
  }
  void Note(const char* quantity, Real ratio) {
    TestLedger().Note(NameOf(loss_case_.spec.loss), loss_case_.predictions.desc.dtype, quantity,
                      ratio);
  }

  const LossCase& loss_case_;
  int count_ = 0;
  std::string text_;
};

bool SameBitsOf(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

void CheckResult(const LossCase& loss_case, const Answer& oracle, const CoreAnswer& core,
                 Findings& findings) {
  const LossResult& result = core.result;
  const auto scalar = [&findings](const char* name, double got, const Bounded& want) {
    findings.Check(name, got, want.values[0], want.bounds[0]);
  };
  scalar("loss", result.loss, oracle.loss);
  scalar("loss_sum", result.loss_sum, oracle.loss_sum);
  scalar("weight_sum", result.weight_sum, oracle.weight_sum);
  scalar("denominator", result.denominator, oracle.denominator);
  findings.CheckCount("position_count", result.position_count, oracle.position_count);
  findings.CheckCount("valid_count", result.valid_count, oracle.valid_count);
  findings.CheckCount("ignored_count", result.ignored_count, oracle.ignored_count);
  findings.CheckCount("clamped_count", result.clamped_count, oracle.clamped_count);
  findings.CheckCount("nonfinite_count", result.nonfinite_count, oracle.nonfinite_count);
  if (result.correct_count.has_value() != loss_case.spec.outputs.argmax_hits) {
    findings.Add("correct_count is there if and only if hits are not wanted");
  }
  if (result.correct_count) {
    findings.CheckCount("correct_count", *result.correct_count, oracle.correct_count);
  }
  // The scalars follow from the exact sums to the bit.
  if (!SameBitsOf(result.loss_sum, result.exact.loss_sum.Round())) {
    findings.Add("loss_sum is not the exact sum rounded once");
  }
  if (!SameBitsOf(result.weight_sum, result.exact.weight_sum.Round())) {
    findings.Add("weight_sum is not the exact sum rounded once");
  }
  if (result.denominator > 0 && std::isfinite(result.loss_sum) &&
      !SameBitsOf(result.loss, result.loss_sum / result.denominator)) {
    findings.Add("loss is not loss_sum / denominator");
  }
}

}  // namespace

Executor& TestExecutor() {
  static Executor executor(8);  // more than there are cores, so that units interleave
  return executor;
}

CoreOutputs CoreOutputs::For(const LossCase& loss_case, size_t misalignment) {
  const OutputSet& wanted = loss_case.spec.outputs;
  const TensorDesc& predictions = loss_case.predictions.desc;
  const size_t elements = loss_case.predictions.size();
  const bool of_elements = FactsOf(loss_case.spec.loss).family == Family::kElements;
  const Geometry geometry = GeometryOf(loss_case.spec, predictions);
  const auto grouped = GroupedShape(loss_case.spec.loss, predictions, geometry.class_axis);
  const size_t positions = grouped       ? static_cast<size_t>(*ElementCount(*grouped))
                           : of_elements ? elements
                                         : elements / geometry.classes();
  OutputSet all = wanted;
  all.position_losses |= loss_case.spec.reduction == Reduction::kNone;
  const OutputDTypes dtypes = OutputDTypesOf(loss_case.spec, DescsOf(loss_case.inputs()));
  CoreOutputs outputs;
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<bool>& row = kOutputRows<bool>[i];
    const size_t count = row.per == Per::kElement ? elements : positions;
    const size_t bytes = all.*row.member ? count * SizeOf(dtypes.Of(row.dtype)) : 0;
    outputs.*kOutputRows<GuardedBuffer>[i].member = GuardedBuffer(bytes, misalignment);
  }
  return outputs;
}

LossOutputs CoreOutputs::spans() {
  LossOutputs spans;
  for (size_t i = 0; i < kOutputCount; ++i) {
    spans.*kOutputRows<MutableByteSpan>[i].member =
        (this->*kOutputRows<GuardedBuffer>[i].member).span();
  }
  return spans;
}

bool CoreOutputs::intact() const {
  return std::ranges::all_of(kOutputRows<GuardedBuffer>,
                             [this](const auto& row) { return (this->*row.member).intact(); });
}

CoreAnswer RunCore(const LossCase& loss_case, Executor& executor, size_t misalignment) {
  CoreAnswer answer;
  answer.outputs = CoreOutputs::For(loss_case, misalignment);
  absl::StatusOr<LossResult> result =
      ComputeLoss(loss_case.spec, loss_case.inputs(), answer.outputs.spans(), executor);
  answer.status = result.status();
  if (result.ok()) answer.result = *std::move(result);
  return answer;
}

std::string BitDifference(const CoreAnswer& a, const CoreAnswer& b, bool compare_outputs) {
  if (!a.status.ok() || !b.status.ok()) {
    return absl::StrCat("status: ", a.status.ToString(), " and ", b.status.ToString());
  }
  const LossResult& x = a.result;
  const LossResult& y = b.result;
  if (!(x.exact == y.exact)) return "exact sums or counts differ";
  if (!SameBitsOf(x.loss, y.loss)) return absl::StrFormat("loss: %a and %a", x.loss, y.loss);
  if (!SameBitsOf(x.loss_sum, y.loss_sum)) return "loss_sum";
  if (!SameBitsOf(x.weight_sum, y.weight_sum)) return "weight_sum";
  if (!SameBitsOf(x.denominator, y.denominator)) return "denominator";
  if (!compare_outputs) return "";
  if (x.correct_count != y.correct_count) return "correct_count";
  const auto differ = [](const GuardedBuffer& p, const GuardedBuffer& q) {
    return !::testing::Value(p.bytes(), SameBits(q.bytes()));
  };
  for (const OutputRow<GuardedBuffer>& row : kOutputRows<GuardedBuffer>) {
    if (differ(a.outputs.*row.member, b.outputs.*row.member)) return std::string(row.name);
  }
  return "";
}

void Ledger::Note(const std::string& loss, DType dtype, const std::string& quantity, Real ratio) {
  Real& worst = worst_[absl::StrFormat("%-22s %-5s %s", loss, std::string(Name(dtype)), quantity)];
  worst = std::fmax(worst, ratio);
}

void Ledger::Print() const {
  std::printf("largest error/bound ratios:\n");
  for (const auto& [key, ratio] : worst_) {
    if (ratio > 0) std::printf("  %-46s %.3Lf\n", key.c_str(), ratio);
  }
}

Ledger& TestLedger() {
  static Ledger ledger;
  return ledger;
}

std::string Disagreement(const LossCase& loss_case, const CoreAnswer& core) {
  return Disagreement(loss_case, Compute(loss_case.spec, loss_case.inputs()), core);
}

std::string Disagreement(const LossCase& loss_case, const Answer& oracle, const CoreAnswer& core) {
  Findings findings(loss_case);
  if (!oracle.refused.empty()) {
    if (core.status.code() != absl::StatusCode::kInvalidArgument) {
      findings.Add(absl::StrCat("status is ", core.status.ToString(),
                                "; wanted INVALID_ARGUMENT, because ", oracle.refused));
    }
    return findings.Report();
  }
  if (!core.status.ok()) {
    findings.Add(core.status.ToString());
    return findings.Report();
  }
  CheckResult(loss_case, oracle, core, findings);
  const CoreOutputs& out = core.outputs;
  if (!out.intact()) findings.Add("written outside an output");
  const DType dtype = loss_case.predictions.desc.dtype;
  if (!oracle.gradient_saturates) {
    const OutputDTypes dtypes = OutputDTypesOf(loss_case.spec, DescsOf(loss_case.inputs()));
    findings.CheckArray("gradient", out.gradient, dtypes.gradient, oracle.gradient);
    findings.CheckArray("second_gradient", out.second_gradient, dtypes.second_gradient,
                        oracle.second_gradient);
  }
  findings.CheckArray("position_losses", out.position_losses, DType::kF64, oracle.position_losses);
  findings.CheckArray("log_sum_exp", out.log_sum_exp, DType::kF64, oracle.log_sum_exp);
  findings.CheckArray("probabilities", out.probabilities, dtype, oracle.probabilities);
  findings.CheckArray("label_log_probabilities", out.label_log_probabilities, DType::kF64,
                      oracle.label_log_probabilities);
  findings.CheckArray("entropy", out.entropy, DType::kF64, oracle.entropy);
  for (size_t i = 0; i < out.label_rank.bytes().size() / sizeof(int32_t); ++i) {
    int32_t rank = 0;
    std::memcpy(&rank, out.label_rank.bytes().data() + i * sizeof(rank), sizeof(rank));
    findings.CheckCount("label_rank", rank, oracle.ranks[i]);
  }
  for (size_t i = 0; i < out.argmax_hits.bytes().size(); ++i) {
    findings.CheckCount("argmax_hits", static_cast<int>(out.argmax_hits.bytes()[i]),
                        oracle.hits[i]);
  }
  return findings.Report();
}

bool ExpectAgreement(const LossCase& loss_case, const std::string& context, size_t misalignment) {
  const std::string disagreement =
      Disagreement(loss_case, RunCore(loss_case, TestExecutor(), misalignment));
  if (disagreement.empty()) return true;
  ADD_FAILURE() << context << ": " << disagreement;
  return false;
}

}  // namespace lossd::oracle
