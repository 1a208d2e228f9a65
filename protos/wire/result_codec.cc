#include "protos/wire/result_codec.h"

#include <google/protobuf/wire_format_lite.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"

namespace lossd::wire {
namespace {

using google::protobuf::internal::WireFormatLite;

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

// Members of a message of sums, in the order of its rows; the messages name them alike.
using google::protobuf::Message;

absl::StatusOr<int64_t> ReadCount(const Message& message, int number, std::string_view name) {
  const auto* const field = message.GetDescriptor()->FindFieldByNumber(number);
  const int64_t count = message.GetReflection()->GetInt64(message, field);
  if (count >= 0) return count;
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(name), " is ", count, "; wanted at least 0"));
}

absl::Status ReadNumber(const Message& message, int number, double& value) {
  const auto* const field = message.GetDescriptor()->FindFieldByNumber(number);
  value = message.GetReflection()->GetDouble(message, field);
  return absl::OkStatus();
}

absl::Status ReadNumber(const Message& message, int number, ExactSum& value) {
  const auto* const field = message.GetDescriptor()->FindFieldByNumber(number);
  const Message& sum = message.GetReflection()->GetMessage(message, field);
  LOSSD_ASSIGN_OR_RETURN(value, ReadSum(static_cast<const v1::ExactSum&>(sum)));
  return absl::OkStatus();
}

void WriteNumber(int number, double value, Writer& written) { written.Double(number, value); }
void WriteNumber(int number, const ExactSum& value, Writer& written) {
  written.Message(number, ToProto(value));
}

template <class M>
absl::StatusOr<M> ReadMembers(const Message& message) {
  M read;
  for (const auto& row : SumsRows<M>::kSums) {
    LOSSD_RETURN_IF_ERROR(ReadNumber(message, row.number, read.*row.member));
  }
  for (const auto& row : SumsRows<M>::kCounts) {
    LOSSD_ASSIGN_OR_RETURN(read.*row.member, ReadCount(message, row.number, row.name));
  }
  for (const auto& row : SumsRows<M>::kExtremes) {
    LOSSD_RETURN_IF_ERROR(ReadNumber(message, row.number, read.*row.member));
  }
  return read;
}

// Writes the members whose numbers are first..last, in their order.
template <class M>
void WriteMembers(const M& sums, int first, int last, Writer& written) {
  for (int number = first; number <= last; ++number) {
    for (const auto& row : SumsRows<M>::kSums) {
      if (row.number == number) WriteNumber(number, sums.*row.member, written);
    }
    for (const auto& row : SumsRows<M>::kCounts) {
      if (row.number == number) written.Number(number, sums.*row.member);
    }
    for (const auto& row : SumsRows<M>::kExtremes) {
      if (row.number == number) written.Double(number, sums.*row.member);
    }
  }
}

// Of a result those that it shares with its exact sums.
void WriteMembers(const LossResult& result, int first, int last, Writer& written) {
  for (int number = first; number <= last; ++number) {
    for (const auto& row : kResultSums) {
      if (row.number == number) written.Double(number, result.*row.member);
    }
    for (const auto& row : kResultCounts) {
      if (row.number == number) written.Number(number, result.*row.member);
    }
  }
}

// A message of sums that has no other members.
template <class M>
void WriteOptional(int number, const std::optional<M>& sums, Writer& outer) {
  constexpr int kLastNumber = 10;
  if (!sums) return;
  Writer written;
  WriteMembers(*sums, 1, kLastNumber, written);
  outer.Message(number, std::move(written));
}

template <class M>
absl::Status ReadOptional(bool has, const Message& message, std::optional<M>& into) {
  if (!has) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(into, ReadMembers<M>(message));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PartialSums> FromProto(const v1::PartialSums& sums) {
  LOSSD_ASSIGN_OR_RETURN(PartialSums read, ReadMembers<PartialSums>(sums));
  LOSSD_RETURN_IF_ERROR(ReadOptional(sums.has_policy(), sums.policy(), read.policy));
  LOSSD_RETURN_IF_ERROR(ReadOptional(sums.has_preference(), sums.preference(), read.preference));
  return read;
}

Writer ToProto(const PartialSums& sums) {
  using Sums = v1::PartialSums;
  Writer written;
  WriteMembers(sums, Sums::kLossSumFieldNumber, Sums::kCorrectCountFieldNumber, written);
  // Few losses have one; answers of the others stay as short as they are.
  if (sums.z_loss_sum != ExactSum()) {
    written.Message(Sums::kZLossSumFieldNumber, ToProto(sums.z_loss_sum));
  }
  WriteOptional(Sums::kPolicyFieldNumber, sums.policy, written);
  WriteOptional(Sums::kPreferenceFieldNumber, sums.preference, written);
  WriteMembers(sums, Sums::kInfeasibleCountFieldNumber, Sums::kInfeasibleCountFieldNumber, written);
  return written;
}

absl::StatusOr<LossResult> FromProto(const v1::LossResult& result) {
  LossResult read;
  for (const auto& row : kResultSums) {
    LOSSD_RETURN_IF_ERROR(ReadNumber(result, row.number, read.*row.member));
  }
  for (const auto& row : kResultCounts) {
    LOSSD_ASSIGN_OR_RETURN(read.*row.member, ReadCount(result, row.number, row.name));
  }
  if (result.has_correct_count()) {
    LOSSD_ASSIGN_OR_RETURN(
        read.correct_count,
        ReadCount(result, v1::LossResult::kCorrectCountFieldNumber, "correct_count"));
  }
  if (!result.has_exact()) return absl::InvalidArgumentError("result.exact is not set");
  read.loss = result.loss();
  read.denominator = result.denominator();
  LOSSD_RETURN_IF_ERROR(ReadOptional(result.has_policy(), result.policy(), read.policy));
  LOSSD_RETURN_IF_ERROR(
      ReadOptional(result.has_preference(), result.preference(), read.preference));
  LOSSD_ASSIGN_OR_RETURN(read.exact, FromProto(result.exact()));
  return read;
}

Writer ToProto(const LossResult& result) {
  using Result = v1::LossResult;
  Writer written;
  written.Double(Result::kLossFieldNumber, result.loss);
  WriteMembers(result, Result::kLossSumFieldNumber, Result::kWeightSumFieldNumber, written);
  written.Double(Result::kDenominatorFieldNumber, result.denominator);
  WriteMembers(result, Result::kPositionCountFieldNumber, Result::kNonfiniteCountFieldNumber,
               written);
  if (result.correct_count) {
    written.SetNumber(Result::kCorrectCountFieldNumber, *result.correct_count);
  }
  written.Message(Result::kExactFieldNumber, ToProto(result.exact));
  WriteMembers(result, Result::kZLossSumFieldNumber, Result::kInfeasibleCountFieldNumber, written);
  WriteOptional(Result::kPolicyFieldNumber, result.policy, written);
  WriteOptional(Result::kPreferenceFieldNumber, result.preference, written);
  return written;
}

}  // namespace lossd::wire
