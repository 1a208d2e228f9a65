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
    {"z_loss_sum", &LossResult::z_loss_sum, "The part of loss_sum that is z-loss."},
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
  for (const auto& row : SumsRows<PartialSums>::kSums) {
    sums.def_prop_ro(
        row.name.data(),
        [member = row.member](const PartialSums& s) { return (s.*member).Round(); },
        row.help.data());
  }
  for (const auto& row : SumsRows<PartialSums>::kCounts) {
    sums.def_prop_ro(
        row.name.data(), [member = row.member](const PartialSums& s) { return s.*member; },
        row.help.data());
  }
  sums.def("__add__", [](const PartialSums& a, const PartialSums& b) {
    PartialSums merged = a;
    merged.Merge(b);
    return merged;
  });
  sums.def("__eq__", [](const PartialSums& a, const PartialSums& b) { return a == b; });
}

// What a loss says beside its value: the rounded sums, counts and extremes of M.
template <class M>
void BindMetrics(nb::module_& module, const char* name, const char* help) {
  nb::class_<M> metrics(module, name, help);
  const auto bind = [&metrics](const auto& rows) {
    for (const auto& row : rows) {
      metrics.def_prop_ro(
          row.name.data(), [member = row.member](const M& m) { return m.*member; },
          row.help.data());
    }
  };
  bind(SumsRows<M>::kSums);
  bind(SumsRows<M>::kCounts);
  bind(SumsRows<M>::kExtremes);
}

}  // namespace

void BindResult(nb::module_& module) {
  BindSums(module);
  BindMetrics<PolicyMetrics>(module, "PolicyMetrics", "What a policy loss says of its tokens.");
  BindMetrics<PreferenceMetrics>(module, "PreferenceMetrics",
                                 "What a preference loss says of its pairs.");
  nb::class_<Result> result(module, "Result", "The answer of a call.");
  for (const Number& number : kNumbers) {
    result.def_prop_ro(
        number.name, [member = number.member](const Result& r) { return r.numbers.*member; },
        number.help);
  }
  for (const auto& row : SumsRows<PartialSums>::kCounts) {
    result.def_prop_ro(
        row.name.data(),
        [member = row.member](const Result& r) -> std::optional<int64_t> {
          if (member == &PartialSums::correct_count) return r.numbers.correct_count;
          return r.numbers.exact.*member;
        },
        row.help.data());
  }
  result.def_prop_ro("policy", [](const Result& r) { return r.numbers.policy; });
  result.def_prop_ro("preference", [](const Result& r) { return r.numbers.preference; });
  for (size_t i = 0; i < kOutputCount; ++i) {
    result.def_prop_ro(kOutputRows<bool>[i].name.data(),
                       [i](const Result& r) { return nb::borrow<nb::any>(r.outputs[i]); });
  }
  result.def_prop_ro("exact", [](const Result& r) { return r.numbers.exact; });
  result.def("__float__", [](const Result& r) { return r.numbers.loss; });
  result.def("__repr__", &Repr);
}

}  // namespace lossd::python
