#include "tests/support/loss_case.h"

#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace lossd::oracle {
namespace {

std::string TensorString(std::string_view name, const TensorDesc& tensor) {
  return absl::StrCat("\n  ", std::string(name), ": ", std::string(Name(tensor.dtype)),
                      ShapeString(tensor.shape),
                      tensor.layout == Layout::kColumnMajor ? " column-major" : "");
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
  const auto view = [](const std::optional<OwnedTensor>& tensor) {
    return tensor ? std::optional(tensor->view()) : std::nullopt;
  };
  views.class_weights = view(class_weights);
  views.position_weights = view(position_weights);
  views.upstream_gradient = view(upstream_gradient);
  views.second_predictions = view(second_predictions);
  views.pos_weight = view(pos_weight);
  views.class_bias = view(class_bias);
  views.advantages = view(advantages);
  views.old_log_probabilities = view(old_log_probabilities);
  views.reference_log_probabilities = view(reference_log_probabilities);
  views.second_reference_log_probabilities = view(second_reference_log_probabilities);
  views.old_values = view(old_values);
  views.sequence_lengths = view(sequence_lengths);
  views.label_lengths = view(label_lengths);
  views.input_lengths = view(input_lengths);
  views.sparse_probabilities = view(sparse_probabilities);
  views.ground_metric = view(ground_metric);
  return views;
}

std::string NameOf(const Loss& loss) { return std::string(FactsOf(loss).name); }

namespace {

// An option's value for people.
template <class T>
std::string TextOf(const T& value) {
  if constexpr (kIsOptional<T>) {
    return value ? absl::StrCat(*value) : "none";
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    return absl::StrCat("[", absl::StrJoin(value, ","), "]");
  } else if constexpr (kIsOneOf<T>) {
    std::string text;
    OptionNumbers(value, [&text](double number) { absl::StrAppend(&text, number, " "); });
    return text;
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
  ForEachTensor(loss_case.inputs(), [&text](const TensorFacts& row, const TensorView& tensor) {
    text += TensorString(row.name, tensor.desc);
  });
  return text;
}

OutputSet AllOutputs(const Loss& loss) {
  OutputSet outputs;
  for (const OutputRow<bool>& row : kOutputRows<bool>) {
    outputs.*row.member = HasOutput(FactsOf(loss), row.of);
  }
  return outputs;
}

}  // namespace lossd::oracle
