#ifndef LOSSD_CORE_PLAN_CHECKS_H_
#define LOSSD_CORE_PLAN_CHECKS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "lossd/losses.h"
#include "lossd/tensor.h"
#include "lossd/tensors.h"

// What the checks of the plan have in common: how a refusal is worded, and what is wrong with an
// enum or a number wherever it stands.
namespace lossd::plan {

// The name of a field: put together where an error needs it, which valid requests do not.
struct Field {
  Field(const char* name_in) : name(name_in) {}         // NOLINT(google-explicit-constructor)
  Field(std::string_view name_in) : name(name_in) {}    // NOLINT(google-explicit-constructor)
  Field(const std::string& name_in) : name(name_in) {}  // NOLINT(google-explicit-constructor)
  Field(std::string_view message_in, std::string_view name_in)
      : message(message_in), name(name_in) {}

  std::string Text() const;

  std::string_view message;  // empty: `name` is all
  std::string_view name;
};

// kInvalidArgument "FIELD is VALUE; wanted WANTED".
absl::Status Refuse(const Field& field, std::string_view value, std::string_view wanted);

// kInvalidArgument "FIELD is [2,10]; wanted WANTED", or "FIELD has rank 9; wanted WANTED" where the
// extents are too many to be printed.
absl::Status RefuseShape(const Field& field, const std::vector<int64_t>& shape,
                         std::string_view wanted);

// The shortest decimal that reads back as `value`; "nan" whatever the sign of the NaN.
std::string NumberString(double value);

// Of an enum whose values are 1..last and stand for the names in `wanted`: kInvalidArgument for 0
// (unspecified), kUnimplemented for any other number.
absl::Status CheckEnum(const Field& field, int value, int last, std::string_view wanted);

absl::Status CheckDTypeKnown(const Field& field, DType dtype);

// Also refuses dtypes that are not floating.
absl::Status CheckFloating(const Field& field, DType dtype);

// Also refuses dtypes that are floating.
absl::Status CheckInteger(const Field& field, DType dtype);

// kInvalidArgument where a loss is given a tensor that it does not take, or lacks one that it
// needs. `loss` and `rules` are its name and its LossRow::kTensors.
absl::Status CheckTensorRules(std::string_view loss, absl::Span<const TensorRule> rules,
                              const LossTensorDescs& tensors);

// The same of tensors that an option needs or does not go with: LossRow::kNeeds and
// kTensorConflicts.
absl::Status CheckNeeds(const Loss& loss, const LossTensorDescs& tensors);

}  // namespace lossd::plan

#endif  // LOSSD_CORE_PLAN_CHECKS_H_
