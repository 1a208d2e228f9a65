#include <nanobind/stl/optional.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/python/call.h"
#include "client/python/value.h"

namespace lossd::python {
namespace {

struct Count {
  const char* name;
  int64_t PartialSums::*member;
  const char* help;
};
constexpr Count kCounts[] = {
    {"position_count", &PartialSums::position_count, "Positions."},
    {"valid_count", &PartialSums::valid_count, "Positions that are not ignored."},
    {"ignored_count", &PartialSums::ignored_count, "Positions that are ignored."},
    {"clamped_count", &PartialSums::clamped_count, "Positions whose loss was clamped."},
    {"nonfinite_count", &PartialSums::nonfinite_count, "Rows made NaN by their predictions."},
    {"correct_count", &PartialSums::correct_count, "With the output argmax_hits."},
};

struct Number {
  const char* name;
  double LossResult::*member;
  const char* help;
};
constexpr Number kNumbers[] = {
    {"loss", &LossResult::loss, "loss_sum / denominator."},
    {"loss_sum", &LossResult::loss_sum, "Before the denominator."},
    {"weight_sum", &LossResult::weight_sum, "Of the weights of positions that are not ignored."},
    {"denominator", &LossResult::denominator, "0 where all_ignored_policy decided."},
};

std::string Repr(const Result& result) {
  return absl::StrCat(
      "Result(loss=", nb::cast<std::string>(nb::repr(nb::float_(result.numbers.loss))),
      ", position_count=", result.numbers.position_count, ")");
}

void BindSums(nb::module_& module) {
  nb::class_<PartialSums> sums(module, "Sums",
                               "Sums and counts over some positions, which add up exactly: in any "
                               "order and grouping the same bits.");
  sums.def(nb::init<>());
  sums.def_prop_ro("loss_sum", [](const PartialSums& s) { return s.loss_sum.Round(); });
  sums.def_prop_ro("weight_sum", [](const PartialSums& s) { return s.weight_sum.Round(); });
  for (const Count& count : kCounts) {
    sums.def_prop_ro(
        count.name, [member = count.member](const PartialSums& s) { return s.*member; },
        count.help);
  }
  sums.def("__add__", [](const PartialSums& a, const PartialSums& b) {
    PartialSums merged = a;
    merged.Merge(b);
    return merged;
  });
  sums.def("__eq__", [](const PartialSums& a, const PartialSums& b) { return a == b; });
}

}  // namespace

void BindResult(nb::module_& module) {
  BindSums(module);
  nb::class_<Result> result(module, "Result", "The answer of a call.");
  for (const Number& number : kNumbers) {
    result.def_prop_ro(
        number.name, [member = number.member](const Result& r) { return r.numbers.*member; },
        number.help);
  }
  for (const Count& count : kCounts) {
    result.def_prop_ro(
        count.name,
        [member = count.member](const Result& r) -> std::optional<int64_t> {
          if (member == &PartialSums::correct_count) return r.numbers.correct_count;
          return r.numbers.exact.*member;
        },
        count.help);
  }
  for (size_t i = 0; i < kOutputCount; ++i) {
    result.def_prop_ro(kOutputRows<bool>[i].name.data(),
                       [i](const Result& r) { return nb::borrow<nb::any>(r.outputs[i]); });
  }
  result.def_prop_ro("exact", [](const Result& r) { return r.numbers.exact; });
  result.def("__float__", [](const Result& r) { return r.numbers.loss; });
  result.def("__repr__", &Repr);
}

}  // namespace lossd::python
