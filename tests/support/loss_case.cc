#include "tests/support/loss_case.h"

#include <optional>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace lossd::oracle {
namespace {

std::string TensorString(const char* name, const OwnedTensor& tensor) {
  return absl::StrCat("\n  ", name, ": ", std::string(Name(tensor.desc.dtype)),
                      ShapeString(tensor.desc.shape),
                      tensor.desc.layout == Layout::kColumnMajor ? " column-major" : "");
}

}  // namespace

OwnedTensor OwnedTensor::Make(DType dtype, std::vector<int64_t> shape, Layout layout,
                              absl::FunctionRef<Real(int64_t)> value) {
  OwnedTensor tensor;
  int64_t elements = 1;
  for (const int64_t extent : shape) elements *= extent;
  tensor.desc = {dtype, std::move(shape), layout};
  tensor.bytes.resize(elements * SizeOf(dtype));
  for (int64_t i = 0; i < elements; ++i) tensor.set(i, value(i));
  return tensor;
}

OwnedTensor OwnedTensor::Of(DType dtype, std::vector<int64_t> shape,
                            const std::vector<Real>& values) {
  return Make(dtype, std::move(shape), Layout::kRowMajor,
              [&values](int64_t i) { return values.at(i); });
}

LossInputs LossCase::inputs() const {
  LossInputs views;
  views.predictions = predictions.view();
  views.target_kind = target_kind;
  views.targets = targets.view();
  if (class_weights) views.class_weights = class_weights->view();
  if (position_weights) views.position_weights = position_weights->view();
  if (upstream_gradient) views.upstream_gradient = upstream_gradient->view();
  return views;
}

std::string NameOf(const Loss& loss) { return std::string(FactsOf(loss).name); }

namespace {

// An option's value for people.
template <class T>
std::string TextOf(const T& value) {
  if constexpr (std::is_same_v<T, std::optional<double>>) {
    return value ? absl::StrCat(*value) : "none";
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    return absl::StrCat("[", absl::StrJoin(value, ","), "]");
  } else if constexpr (std::is_enum_v<T>) {
    return absl::StrCat(static_cast<int>(value));
  } else {
    return absl::StrCat(value);
  }
}

}  // namespace

std::string Describe(const LossCase& loss_case) {
  const LossSpec& spec = loss_case.spec;
  std::string text = NameOf(spec.loss);
  std::visit(
      [&text]<class L>(const L& loss) {
        ForEachOption<L>([&](const auto& option) {
          absl::StrAppend(&text, " ", std::string(option.name), "=", TextOf(loss.*option.member));
        });
      },
      spec.loss);
  if (spec.class_axis) absl::StrAppend(&text, " class_axis=", *spec.class_axis);
  if (spec.weight_normalization) {
    absl::StrAppend(&text, " weight_normalization=", static_cast<int>(*spec.weight_normalization));
  }
  absl::StrAppend(&text, " ignore_labels=[", absl::StrJoin(spec.ignore_labels, ","),
                  "] label_smoothing=", spec.label_smoothing, " loss_weight=", spec.loss_weight,
                  " reduction=", static_cast<int>(spec.reduction));
  if (spec.denominator) absl::StrAppend(&text, " denominator=", *spec.denominator);
  absl::StrAppend(&text, " gradient_scale=", spec.gradient_scale);
  if (spec.gradient_dtype) {
    absl::StrAppend(&text, " gradient_dtype=", std::string(Name(*spec.gradient_dtype)));
  }
  text += TensorString("predictions", loss_case.predictions);
  for (const TensorFacts& row : kTensorRows<TensorDesc>) {
    if (row.target_kind != loss_case.target_kind) continue;
    text += TensorString(std::string(row.name).c_str(), loss_case.targets);
  }
  if (loss_case.class_weights) text += TensorString("class weights", *loss_case.class_weights);
  if (loss_case.position_weights) {
    text += TensorString("position weights", *loss_case.position_weights);
  }
  if (loss_case.upstream_gradient) {
    text += TensorString("upstream gradient", *loss_case.upstream_gradient);
  }
  return text;
}

OutputSet AllOutputs(const Loss& loss) {
  const Family family = FactsOf(loss).family;
  OutputSet outputs;
  for (const OutputRow<bool>& row : kOutputRows<bool>) {
    outputs.*row.member = row.IsOf(family);
  }
  return outputs;
}

}  // namespace lossd::oracle
