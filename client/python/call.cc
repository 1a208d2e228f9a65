#include "client/python/call.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/python/spec.h"
#include "client/python/value.h"
#include "lossd/shapes.h"

namespace lossd::python {
template <>
struct FieldWords<TransferMode> {
  static constexpr Word<TransferMode> kRows[] = {{TransferMode::kAuto, "auto"},
                                                 {TransferMode::kUnary, "unary"},
                                                 {TransferMode::kStream, "stream"}};
};

namespace {

[[noreturn]] void ThrowValueError(const std::string& message) {
  throw nb::value_error(message.c_str());
}

std::optional<size_t> OutputIndex(std::string_view name) {
  for (size_t i = 0; i < kOutputCount; ++i) {
    if (kOutputRows<bool>[i].name == name) return i;
  }
  return std::nullopt;
}

size_t RequiredOutputIndex(nb::handle name) {
  const auto text = nb::cast<std::string>(nb::str(name));
  if (const std::optional<size_t> index = OutputIndex(text)) return *index;
  std::string names;
  for (const OutputFacts& row : kOutputRows<bool>) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", std::string(row.name));
  }
  ThrowValueError(absl::StrCat("outputs has \"", text, "\"; wanted some of ", names));
}

std::optional<size_t> SideTensorIndex(std::string_view name) {
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorRow<TensorView>& row = kTensorRows<TensorView>[i];
    if (row.sometimes != nullptr && row.name == name) return i;
  }
  return std::nullopt;
}

}  // namespace

// The keyword arguments of a call.
struct Call::Arguments {
  bool gradient = true;
  nb::object out;      // an array for the gradient, or a mapping from names of outputs to arrays
  nb::object outputs;  // names
  nb::object target_kind;
  std::array<nb::object, kTensorCount> tensors;  // by index of kTensorRows

  // Returns false for a name that is none of these.
  bool Set(std::string_view name, nb::handle value, CallOptions& options);
};

bool Call::Arguments::Set(std::string_view name, nb::handle value, CallOptions& options) {
  if (const std::optional<size_t> tensor = SideTensorIndex(name)) {
    if (!value.is_none()) tensors[*tensor] = nb::borrow(value);
  } else if (name == "gradient") {
    gradient = FieldType<bool>::Read(value, name);
  } else if (name == "out") {
    if (!value.is_none()) out = nb::borrow(value);
  } else if (name == "outputs") {
    outputs = nb::borrow(value);
  } else if (name == "target_kind") {
    if (!value.is_none()) target_kind = nb::borrow(value);
  } else if (name == "timeout") {
    if (!value.is_none()) options.timeout = absl::Seconds(FieldType<double>::Read(value, name));
  } else if (name == "fan_out") {
    options.fan_out = FieldType<int>::Read(value, name);
  } else if (name == "transport") {
    options.mode = FieldType<TransferMode>::Read(value, name);
  } else {
    return false;
  }
  return true;
}

Call::Call(nb::handle predictions, nb::handle targets, nb::handle spec, const nb::kwargs& arguments)
    : spec_(ReadSpec(spec)) {
  Arguments read;
  for (const auto [key, value] : arguments) {
    const auto name = nb::cast<std::string>(key);
    if (!read.Set(name, value, options_)) {
      throw nb::type_error(
          absl::StrCat("compute() got an unexpected keyword argument '", name, "'").c_str());
    }
  }
  AddPredictions(predictions);
  AddTargets(targets, read);
  AddSideTensors(read);
  AddOutputs(read);
  CheckBatch();
}

void Call::AddPredictions(nb::handle predictions) {
  predictions_ = ReadArray(predictions, "predictions");
  framework_ = FrameworkOf(predictions);
  const std::optional<Order> order = DenseOrder(predictions_);
  if (!order) {
    ThrowValueError(
        "the predictions have gaps in memory, as a slice has; wanted a contiguous array or a "
        "permutation of one (numpy.ascontiguousarray, torch's contiguous() make a copy)");
  }
  order_ = *order;
  const TensorDesc as_written{predictions_.dtype, predictions_.shape};
  class_axis_ = ClassAxis(spec_.class_axis, as_written);
  inputs_.predictions = {{predictions_.dtype, InOrder(predictions_.shape, order_)},
                         {predictions_.data, predictions_.byte_count()}};
  if (order_ == RowMajor(order_.size()) || !class_axis_) return;
  for (size_t i = 0; i < order_.size(); ++i) {
    if (order_[i] == *class_axis_) spec_.class_axis = static_cast<int>(i);
  }
}

// The batch dimension is the one that varies slowest in memory.
void Call::CheckBatch() const {
  if (order_.empty() || order_[0] == 0) return;
  const bool per_sample = inputs_.class_weights && inputs_.class_weights->desc.shape.size() > 1;
  if (spec_.reduction != Reduction::kBatch && !per_sample &&
      spec_.weight_normalization != WeightNormalization::kGlobal) {
    return;
  }
  ThrowValueError(
      "the first dimension of the predictions is not the one that varies slowest in memory, so "
      "reduction \"batch\", weight_normalization \"global\" and class weights of more than one "
      "dimension cannot be had; wanted a contiguous array");
}

Order Call::OrderFor(const Array& array, const TensorFacts& facts) const {
  const size_t rank = array.shape.size();
  if (rank == order_.size()) return order_;
  if (rank + 1 == order_.size()) {
    if (facts.per == Per::kPosition && class_axis_) return WithoutAxis(order_, *class_axis_);
    if (facts.per == Per::kClass && rank > 1) return WithoutAxis(order_, 0);
  }
  return RowMajor(rank);
}

TensorView Call::ViewOf(Array array, const TensorFacts& facts, std::string_view name) {
  const Order order = OrderFor(array, facts);
  if (!LiesIn(array, order)) {
    ThrowValueError(absl::StrCat(std::string(name),
                                 " do not lie in memory as the predictions do, without gaps; "
                                 "wanted a copy that does (numpy.ascontiguousarray, torch's "
                                 "contiguous())"));
  }
  held_.push_back(std::move(array));
  const Array& held = held_.back();
  return {{held.dtype, InOrder(held.shape, order)}, {held.data, held.byte_count()}};
}

const TensorFacts& Call::TargetOf(const Array& targets, nb::handle wanted) const {
  const LossFacts& loss = FactsOf(spec_.loss);
  const TensorFacts* chosen = nullptr;
  std::string names;
  for (const TensorRule& rule : loss.tensors) {
    const TensorFacts& facts = FactsOf(rule.role);
    if (!facts.target_kind) continue;
    absl::StrAppend(&names, names.empty() ? "" : ", ", std::string(facts.name));
    if (wanted.is_valid()) {
      if (nb::cast<std::string>(nb::str(wanted)) == facts.name) return facts;
      continue;
    }
    // Targets of floats in the shape of the predictions are of each element; others are labels.
    const bool elements = IsFloating(targets.dtype) && targets.shape == predictions_.shape;
    if (chosen == nullptr || (facts.per == Per::kElement) == elements) chosen = &facts;
  }
  if (wanted.is_valid() || chosen == nullptr) {
    ThrowValueError(absl::StrCat("target_kind is ", nb::cast<std::string>(nb::str(wanted)),
                                 "; wanted one of ", names));
  }
  return *chosen;
}

void Call::AddTargets(nb::handle targets, const Arguments& arguments) {
  const LossFacts& loss = FactsOf(spec_.loss);
  if (!TakesTargets(loss)) {
    if (!targets.is_none()) {
      ThrowValueError(absl::StrCat(std::string(loss.name), " takes no targets; wanted None"));
    }
    inputs_.target_kind = TargetKind::kNone;
    return;
  }
  Array array = ReadArray(targets, "targets");
  target_shape_ = array.shape;
  const TensorFacts& facts = TargetOf(array, arguments.target_kind);
  inputs_.target_kind = *facts.target_kind;
  inputs_.targets = ViewOf(std::move(array), facts, "targets");
}

void Call::AddSideTensors(const Arguments& arguments) {
  for (size_t i = 0; i < kTensorCount; ++i) {
    if (!arguments.tensors[i].is_valid()) continue;
    const TensorRow<TensorView>& row = kTensorRows<TensorView>[i];
    TensorView view = ViewOf(ReadArray(arguments.tensors[i], row.name), row, row.name);
    AddTensor(row, inputs_) = std::move(view);
  }
}

std::vector<int64_t> Call::PositionShape() const {
  if (FactsOf(spec_.loss).family == Family::kElements || !class_axis_) return predictions_.shape;
  const TensorDesc described = {predictions_.dtype, predictions_.shape};
  if (const auto grouped = GroupedShape(spec_.loss, described, *class_axis_)) return *grouped;
  std::vector<int64_t> shape = Without(predictions_.shape, *class_axis_);
  // Labels of another size are for the core to refuse.
  if (inputs_.target_kind == TargetKind::kClassIndices &&
      ElementCount(target_shape_) == ElementCount(shape)) {
    return target_shape_;
  }
  return shape;
}

void Call::AddOutput(size_t index, nb::handle into) {
  const OutputRow<MutableByteSpan>& row = kOutputRows<MutableByteSpan>[index];
  const DType dtype = OutputDTypesOf(spec_, DescsOf(inputs_)).Of(row.dtype);
  const std::vector<int64_t> shape =
      row.per == Per::kElement ? predictions_.shape : PositionShape();
  const Order order = shape.size() == order_.size() ? order_
                      : class_axis_                 ? WithoutAxis(order_, *class_axis_)
                                                    : RowMajor(shape.size());
  nb::object& answer = answers_[index];
  answer = into.is_valid() ? nb::borrow(into) : NewArray(framework_, shape, dtype, order);
  const std::string name = absl::StrCat("out: ", std::string(row.name));
  Array array = ReadArray(answer, name);
  if (into.is_valid()) {
    if (!IsWritable(into, array)) ThrowValueError(absl::StrCat(name, " is read-only"));
    if (array.dtype != dtype) {
      ThrowValueError(absl::StrCat(name, " is ", FrameworkName(array.dtype), "; wanted ",
                                   FrameworkName(dtype)));
    }
    if (array.shape != shape) {
      ThrowValueError(absl::StrCat(name, " has shape ", ShapeString(array.shape), "; wanted ",
                                   ShapeString(shape)));
    }
  }
  if (!LiesIn(array, order)) {
    ThrowValueError(absl::StrCat(name, " does not lie in memory as the predictions do"));
  }
  outputs_.*row.member = {array.data, array.byte_count()};
  held_.push_back(std::move(array));
}

void Call::AddOutputs(const Arguments& arguments) {
  std::array<bool, kOutputCount> wanted = {};
  std::array<nb::object, kOutputCount> into;
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<bool>& row = kOutputRows<bool>[i];
    wanted[i] = row.is_gradient()
                    ? arguments.gradient && HasOutput(FactsOf(spec_.loss), row.of)
                    : row.name == "position_losses" && spec_.reduction == Reduction::kNone;
  }
  if (arguments.outputs.is_valid()) {
    for (const nb::handle name : arguments.outputs) wanted[RequiredOutputIndex(name)] = true;
  }
  if (arguments.out.is_valid()) {
    if (nb::isinstance<nb::dict>(arguments.out)) {
      for (const auto [name, array] : nb::borrow<nb::dict>(arguments.out)) {
        into[RequiredOutputIndex(name)] = nb::borrow(array);
      }
    } else {
      into[*OutputIndex("gradient")] = arguments.out;
    }
  }
  for (size_t i = 0; i < kOutputCount; ++i) {
    if (wanted[i] || into[i].is_valid()) AddOutput(i, into[i]);
  }
  spec_.outputs = MapOutputs<bool>(outputs_, [](const OutputFacts&, const MutableByteSpan& bytes) {
    return bytes.data() != nullptr;
  });
}

Result Call::Finish(LossResult numbers) {
  Result result{std::move(numbers), {}};
  for (size_t i = 0; i < kOutputCount; ++i) {
    result.outputs[i] = answers_[i].is_valid() ? Finished(framework_, std::move(answers_[i]))
                                               : nb::object(nb::none());
  }
  return result;
}

}  // namespace lossd::python
