#include "protos/wire/result_codec.h"

#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lossd/status_macros.h"

namespace lossd::wire {
namespace {

absl::Status CheckCounts(std::initializer_list<std::pair<absl::string_view, int64_t>> counts) {
  for (const auto& [name, count] : counts) {
    if (count < 0) {
      return absl::InvalidArgumentError(absl::StrCat(name, " is ", count, "; wanted at least 0"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ExactSum> ReadSum(const v1::ExactSum& sum) {
  const auto* magnitude = reinterpret_cast<const std::byte*>(sum.magnitude().data());
  return ExactSum::FromPortable({.exponent = sum.exponent(),
                                 .magnitude = {magnitude, magnitude + sum.magnitude().size()},
                                 .nan_terms = sum.nan_terms(),
                                 .positive_infinities = sum.positive_infinities(),
                                 .negative_infinities = sum.negative_infinities()});
}

void WriteSum(const ExactSum& sum, v1::ExactSum& written) {
  const ExactSum::Portable portable = sum.ToPortable();
  written.set_exponent(portable.exponent);
  written.set_magnitude(portable.magnitude.data(), portable.magnitude.size());
  written.set_nan_terms(portable.nan_terms);
  written.set_positive_infinities(portable.positive_infinities);
  written.set_negative_infinities(portable.negative_infinities);
}

}  // namespace

absl::StatusOr<PartialSums> FromProto(const v1::PartialSums& sums) {
  LOSSD_RETURN_IF_ERROR(CheckCounts({{"position_count", sums.position_count()},
                                     {"valid_count", sums.valid_count()},
                                     {"ignored_count", sums.ignored_count()},
                                     {"clamped_count", sums.clamped_count()},
                                     {"nonfinite_count", sums.nonfinite_count()},
                                     {"correct_count", sums.correct_count()}}));
  PartialSums read;
  LOSSD_ASSIGN_OR_RETURN(read.loss_sum, ReadSum(sums.loss_sum()));
  LOSSD_ASSIGN_OR_RETURN(read.weight_sum, ReadSum(sums.weight_sum()));
  read.position_count = sums.position_count();
  read.valid_count = sums.valid_count();
  read.ignored_count = sums.ignored_count();
  read.clamped_count = sums.clamped_count();
  read.nonfinite_count = sums.nonfinite_count();
  read.correct_count = sums.correct_count();
  return read;
}

void ToProto(const PartialSums& sums, v1::PartialSums& written) {
  WriteSum(sums.loss_sum, *written.mutable_loss_sum());
  WriteSum(sums.weight_sum, *written.mutable_weight_sum());
  written.set_position_count(sums.position_count);
  written.set_valid_count(sums.valid_count);
  written.set_ignored_count(sums.ignored_count);
  written.set_clamped_count(sums.clamped_count);
  written.set_nonfinite_count(sums.nonfinite_count);
  written.set_correct_count(sums.correct_count);
}

absl::StatusOr<LossResult> FromProto(const v1::LossResult& result) {
  LOSSD_RETURN_IF_ERROR(CheckCounts({{"position_count", result.position_count()},
                                     {"valid_count", result.valid_count()},
                                     {"ignored_count", result.ignored_count()},
                                     {"clamped_count", result.clamped_count()},
                                     {"nonfinite_count", result.nonfinite_count()},
                                     {"correct_count", result.correct_count()}}));
  if (!result.has_exact()) return absl::InvalidArgumentError("result.exact is not set");
  LossResult read;
  read.loss = result.loss();
  read.loss_sum = result.loss_sum();
  read.weight_sum = result.weight_sum();
  read.denominator = result.denominator();
  read.position_count = result.position_count();
  read.valid_count = result.valid_count();
  read.ignored_count = result.ignored_count();
  read.clamped_count = result.clamped_count();
  read.nonfinite_count = result.nonfinite_count();
  if (result.has_correct_count()) read.correct_count = result.correct_count();
  LOSSD_ASSIGN_OR_RETURN(read.exact, FromProto(result.exact()));
  return read;
}

void ToProto(const LossResult& result, v1::LossResult& written) {
  written.set_loss(result.loss);
  written.set_loss_sum(result.loss_sum);
  written.set_weight_sum(result.weight_sum);
  written.set_denominator(result.denominator);
  written.set_position_count(result.position_count);
  written.set_valid_count(result.valid_count);
  written.set_ignored_count(result.ignored_count);
  written.set_clamped_count(result.clamped_count);
  written.set_nonfinite_count(result.nonfinite_count);
  if (result.correct_count) written.set_correct_count(*result.correct_count);
  ToProto(result.exact, *written.mutable_exact());
}

}  // namespace lossd::wire
