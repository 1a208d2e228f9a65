#ifndef LOSSD_CORE_PLAN_CHECKS_H_
#define LOSSD_CORE_PLAN_CHECKS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "lossd/tensor.h"

// What the checks of the plan have in common: how a refusal is worded, and what is wrong with an
// enum or a number wherever it stands.
namespace lossd::plan {

// kInvalidArgument "FIELD is VALUE; wanted WANTED".
absl::Status Refuse(std::string_view field, std::string_view value, std::string_view wanted);

// kInvalidArgument "FIELD is [2,10]; wanted WANTED", or "FIELD has rank 9; wanted WANTED" where the
// extents are too many to be printed.
absl::Status RefuseShape(std::string_view field, const std::vector<int64_t>& shape,
                         std::string_view wanted);

// The shortest decimal that reads back as `value`; "nan" whatever the sign of the NaN.
std::string NumberString(double value);

// Of an enum whose values are 1..last and stand for the names in `wanted`: kInvalidArgument for 0
// (unspecified), kUnimplemented for any other number.
absl::Status CheckEnum(std::string_view field, int value, int last, std::string_view wanted);

absl::Status CheckDTypeKnown(std::string_view field, DType dtype);

// Also refuses dtypes that are not floating.
absl::Status CheckFloating(std::string_view field, DType dtype);

}  // namespace lossd::plan

#endif  // LOSSD_CORE_PLAN_CHECKS_H_
