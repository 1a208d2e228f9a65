#include "tests/wire/refusal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <google/protobuf/message.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "lossd/losses.h"
#include "tests/wire/text_request.h"

namespace lossd::wire_test {

using testing::HasSubstr;

v1::ComputeRequest FullRequest(const std::string& text) {
  v1::ComputeRequest request = RequestWith(text);
  const auto number = static_cast<int>(request.spec().loss_case());
  const auto* const found = std::find_if(kLossFacts.begin(), kLossFacts.end(),
                                         [&](const LossFacts& f) { return f.number == number; });
  const bool of_tokens = request.spec().policy().input() == v1::PolicyLoss::LOG_PROBABILITIES;
  const LossFacts* const facts = of_tokens ? &kOtherFacts<LossRow<PolicyLoss>> : found;
  const bool has_more = facts != kLossFacts.end() &&
                        (facts->family == Family::kElements || facts->family == Family::kRows);
  if (!has_more) return request;
  const bool has_labels = text.find("class_indices") != std::string::npos;
  if (!Takes(*facts, Role::kClassIndices) && !has_labels) request.clear_class_indices();
  for (const TensorRule& rule : facts->tensors) {
    const bool by_option = rule.presence == Presence::kByOption &&
                           (!of_tokens || request.spec().policy().kl_coefficient() != 0);
    if (rule.presence != Presence::kRequired && !by_option) continue;
    const auto* const field =
        v1::ComputeRequest::descriptor()->FindFieldByNumber(static_cast<int>(rule.role));
    const google::protobuf::Reflection& reflection = *request.GetReflection();
    if (reflection.HasField(request, field) || (field->containing_oneof() && has_labels)) continue;
    reflection.MutableMessage(&request, field)
        ->CopyFrom(ParseRequest("predictions { dtype: DTYPE_F32 shape: [2, 3]"
                                " data: $f32(1 1 1 1 1 1) }")
                       .predictions());
  }
  return request;
}

void ExpectRefused(const std::string& text, absl::StatusCode code, const std::string& words) {
  SCOPED_TRACE(text);
  const v1::ComputeRequest request = FullRequest(text);
  const absl::Status status = Answer(request);
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  EXPECT_EQ(PlanOfHeader(request), status);
}

void ExpectAnswered(const std::string& text) {
  SCOPED_TRACE(text);
  EXPECT_EQ(Answer(FullRequest(text)), absl::OkStatus());
}

void PrintTo(const Domain& domain, std::ostream* out) { *out << domain.name; }

void ExpectDomain(const Domain& domain) {
  const auto with = [&](const char* value) {
    return absl::StrCat("spec { ", absl::StrReplaceAll(domain.spec, {{"VALUE", value}}), " }");
  };
  for (const char* value : domain.outside) {
    ExpectRefused(with(value), absl::StatusCode::kInvalidArgument,
                  absl::StrCat(domain.field, " is ", value, "; wanted ", domain.wanted));
  }
  for (const char* value : domain.inside) ExpectAnswered(with(value));
}

}  // namespace lossd::wire_test
