#include "protos/wire/result_codec.h"

#include <google/protobuf/wire_format_lite.h>

#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lossd/status_macros.h"

namespace lossd::wire {
namespace {

using google::protobuf::internal::WireFormatLite;

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

Writer ToProto(const ExactSum& sum) {
  using Sum = v1::ExactSum;
  const ExactSum::Portable portable = sum.ToPortable();
  Writer written;
  written.Number(Sum::kExponentFieldNumber, WireFormatLite::ZigZagEncode32(portable.exponent));
  written.Bytes(Sum::kMagnitudeFieldNumber, {portable.magnitude, nullptr});
  written.Number(Sum::kNanTermsFieldNumber, portable.nan_terms);
  written.Number(Sum::kPositiveInfinitiesFieldNumber, portable.positive_infinities);
  written.Number(Sum::kNegativeInfinitiesFieldNumber, portable.negative_infinities);
  return written;
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

Writer ToProto(const PartialSums& sums) {
  using Sums = v1::PartialSums;
  Writer written;
  written.Message(Sums::kLossSumFieldNumber, ToProto(sums.loss_sum));
  written.Message(Sums::kWeightSumFieldNumber, ToProto(sums.weight_sum));
  written.Number(Sums::kPositionCountFieldNumber, sums.position_count);
  written.Number(Sums::kValidCountFieldNumber, sums.valid_count);
  written.Number(Sums::kIgnoredCountFieldNumber, sums.ignored_count);
  written.Number(Sums::kClampedCountFieldNumber, sums.clamped_count);
  written.Number(Sums::kNonfiniteCountFieldNumber, sums.nonfinite_count);
  written.Number(Sums::kCorrectCountFieldNumber, sums.correct_count);
  return written;
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

Writer ToProto(const LossResult& result) {
  using Result = v1::LossResult;
  Writer written;
  written.Double(Result::kLossFieldNumber, result.loss);
  written.Double(Result::kLossSumFieldNumber, result.loss_sum);
  written.Double(Result::kWeightSumFieldNumber, result.weight_sum);
  written.Double(Result::kDenominatorFieldNumber, result.denominator);
  written.Number(Result::kPositionCountFieldNumber, result.position_count);
  written.Number(Result::kValidCountFieldNumber, result.valid_count);
  written.Number(Result::kIgnoredCountFieldNumber, result.ignored_count);
  written.Number(Result::kClampedCountFieldNumber, result.clamped_count);
  written.Number(Result::kNonfiniteCountFieldNumber, result.nonfinite_count);
  if (result.correct_count) {
    written.SetNumber(Result::kCorrectCountFieldNumber, *result.correct_count);
  }
  written.Message(Result::kExactFieldNumber, ToProto(result.exact));
  return written;
}

}  // namespace lossd::wire
