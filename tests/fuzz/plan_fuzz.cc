// LossPlan::Make against the same arithmetic in 128 bits.
//   input: one request; every option and extent may be anything

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/loss_plan.h"
#include "tests/fuzz/input.h"

namespace lossd::fuzz {
namespace {

__extension__ using Wide = __int128;
using Shape = std::vector<int64_t>;

constexpr Wide kLimit = (Wide{1} << 60) - 1;  // elements: eight bytes for each are below 2^63

// The elements of a tensor as if it had no empty dimension; kLimit + 1 for any number above.
Wide Elements(const Shape& shape) {
  Wide elements = 1;
  for (const int64_t extent : shape) {
    elements = std::min(kLimit + 1, elements * std::max<int64_t>(extent, 1));
  }
  return elements;
}

Wide Product(Shape::const_iterator begin, Shape::const_iterator end) {
  Wide product = 1;
  for (; begin != end; ++begin) product *= *begin;
  return product;
}

// With extents that now and then are the predictions'.
TensorDesc AnyTensor(Input& input, const Shape& like) {
  TensorDesc desc;
  desc.dtype = static_cast<DType>(input.Byte() % 14);
  desc.layout = static_cast<Layout>(input.Byte() % 8 == 0 ? input.Byte() : 1 + input.Byte() % 2);
  desc.shape = like;
  switch (input.Byte() % 4) {
    case 0:
      desc.shape.clear();
      for (int64_t rank = input.Below(11); rank > 0; --rank) desc.shape.push_back(input.Integer());
      break;
    case 1:
      if (!desc.shape.empty())
        desc.shape.erase(desc.shape.begin() + input.Below(desc.shape.size()));
      break;
    case 2:
      if (!desc.shape.empty()) desc.shape[input.Below(desc.shape.size())] = input.Byte() % 3;
      break;
    default:
      break;
  }
  return desc;
}

double AnyReal(Input& input) {
  if (input.Flag()) return input.Pick({0.0, 0.1, 1.0, -1.0, 1e300, 5e-324});
  const uint64_t bits = input.Number();
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
T AnyOption(Input& input) {
  if constexpr (kIsOneOf<T>) {
    T value;
    const int drawn = input.Byte() % 8;
    int index = 0;
    ForEachMember<T>([&]<class M>(const M&) {
      if (index++ != drawn) return;
      M message;
      ForEachOption<M>([&]<class O>(const Option<M, O>& option) {
        if (input.Flag()) message.*option.member = AnyOption<O>(input);
      });
      value = message;
    });
    return value;
  } else if constexpr (std::is_same_v<T, std::optional<int32_t>>) {
    return static_cast<int32_t>(input.Byte() % 8) - 3;
  } else if constexpr (std::is_enum_v<T> || std::is_same_v<T, int32_t>) {
    return static_cast<T>(input.Byte() % 8);
  } else if constexpr (std::is_same_v<T, bool>) {
    return input.Flag();
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    return std::vector<double>(input.Byte() % 4, AnyReal(input));
  } else {
    return AnyReal(input);
  }
}

TargetKind AnyTargetKind(Input& input) {
  const uint8_t choice = input.Byte();
  if ((choice & 1) != 0) return TargetKind::kClassProbabilities;
  if (choice % 64 == 62) return static_cast<TargetKind>(choice);
  return (choice & 2) != 0 ? TargetKind::kTargetValues : TargetKind::kClassIndices;
}

LossSpec AnySpec(Input& input) {
  LossSpec spec;
  spec.loss = kDefaultLosses[input.Byte() % kLossCount];
  std::visit(
      [&input]<class L>(L& loss) {
        ForEachOption<L>([&]<class T>(const Option<L, T>& option) {
          if (input.Flag()) loss.*option.member = AnyOption<T>(input);
        });
      },
      spec.loss);
  const auto one_in_four = [&input] { return input.Byte() % 4 == 3; };
  if (one_in_four()) spec.class_axis = static_cast<int>(input.Integer());
  if (one_in_four()) spec.weight_normalization = static_cast<WeightNormalization>(input.Byte() % 5);
  if (one_in_four()) spec.ignore_labels.resize(input.Byte() % 70, input.Integer());
  if (one_in_four()) spec.label_smoothing = AnyReal(input);
  if (one_in_four()) spec.loss_weight = AnyReal(input);
  if (one_in_four()) spec.reduction = static_cast<Reduction>(input.Byte() % 9);
  if (one_in_four()) spec.denominator = AnyReal(input);
  if (one_in_four()) spec.gradient_scale = AnyReal(input);
  if (one_in_four()) spec.gradient_dtype = static_cast<DType>(input.Byte() % 14);
  if (one_in_four()) spec.all_ignored_policy = static_cast<AllIgnoredPolicy>(input.Byte() % 5);
  if (one_in_four()) spec.non_finite_policy = static_cast<NonFinitePolicy>(input.Byte() % 4);
  const uint8_t outputs = input.Byte();
  spec.outputs = {.gradient = (outputs & 1) == 0,
                  .position_losses = (outputs & 2) != 0,
                  .log_sum_exp = (outputs & 4) != 0,
                  .argmax_hits = (outputs & 8) != 0,
                  .probabilities = (outputs & 16) != 0};
  return spec;
}

// What must be true of a box, and of its sizes if it is one.
void CheckBox(const LossPlan& plan, const Box& box) {
  const auto inside = [](int64_t begin, int64_t count, int64_t extent) {
    return begin >= 0 && count >= 1 && Wide{begin} + count <= extent;
  };
  const bool is_box = inside(box.outer_begin, box.outer_count, plan.outer()) &&
                      inside(box.inner_begin, box.inner_count, plan.inner());
  Require(plan.CheckBox(box).ok() == is_box, "CheckBox is wrong about a box");
  if (!is_box) return;
  const Wide positions = Wide{box.outer_count} * box.inner_count;
  const Wide elements = positions * plan.classes();
  const Wide counted = plan.of_elements() ? elements : positions;
  const LossPlan::BoxBytes bytes = plan.BytesOf(box);
  const OutputSet& wanted = plan.outputs();
  const Wide width = SizeOf(plan.dtype());
  const auto is = [](int64_t got, bool there, Wide want) {
    Require(got == (there ? want : Wide{0}), "the size of a part of a box is wrong");
  };
  is(bytes.predictions, true, elements * width);
  const Wide targets = elements * SizeOf(plan.tensors().targets.dtype);
  const TargetKind kind = plan.tensors().target_kind;
  const bool in_blocks = !plan.targets_come_whole();
  is(bytes.class_probabilities, kind == TargetKind::kClassProbabilities && in_blocks, targets);
  is(bytes.target_values, kind == TargetKind::kTargetValues && in_blocks, targets);
  is(bytes.gradient, wanted.gradient, elements * SizeOf(plan.gradient_dtype()));
  is(bytes.position_losses, wanted.position_losses, counted * 8);
  is(bytes.log_sum_exp, wanted.log_sum_exp, positions * 8);
  is(bytes.argmax_hits, wanted.argmax_hits, positions);
  is(bytes.probabilities, wanted.probabilities, elements * width);
}

void CheckPlan(const LossPlan& plan, Input& input) {
  const TensorDesc& predictions = plan.tensors().predictions;
  const Shape& shape = predictions.shape;
  const int axis = *plan.spec().class_axis;
  Require(axis >= 0 && axis < static_cast<int>(shape.size()), "class_axis is no index");
  Require(Elements(shape) <= kLimit, "a tensor above the limit was planned");
  Wide outer = Product(shape.begin(), shape.begin() + axis);
  Wide inner = Product(shape.begin() + axis + 1, shape.end());
  if (predictions.layout == Layout::kColumnMajor) std::swap(outer, inner);
  Require(plan.outer() == outer && plan.inner() == inner && plan.classes() == shape[axis],
          "an extent of the plan is not the product of its extents");
  Require(plan.positions() == outer * inner, "the number of positions is wrong");
  Require(plan.counted_positions() == outer * inner * (plan.of_elements() ? shape[axis] : 1),
          "the number of counted positions is wrong");
  Require(plan.predictions_bytes() == outer * inner * shape[axis] * SizeOf(plan.dtype()),
          "the size of the predictions is wrong");
  for (const auto& tensor : {std::optional(plan.tensors().targets), plan.tensors().class_weights,
                             plan.tensors().position_weights, plan.tensors().upstream_gradient}) {
    if (!tensor) continue;
    Require(Elements(tensor->shape) <= kLimit, "a side tensor above the limit was planned");
    const Wide bytes = Product(tensor->shape.begin(), tensor->shape.end()) * SizeOf(tensor->dtype);
    Require(ByteCount(*tensor) == static_cast<int64_t>(bytes),
            "the size of a side tensor is wrong");
  }
  if (plan.positions() > 0) CheckBox(plan, plan.whole());
  for (int i = 0; i < 3; ++i) {
    CheckBox(plan, {input.Integer(), input.Integer(), input.Integer(), input.Integer()});
  }
}

// A request that is right but for its extents is planned exactly if they fit.
void CheckExtents(const Shape& shape, DType dtype) {
  LossTensorDescs tensors;
  tensors.predictions = {dtype, shape};
  const bool ranked = !shape.empty() && shape.size() <= 8;
  const size_t axis = shape.size() == 1 ? 0 : 1;
  tensors.targets = {DType::kI64, shape};
  if (ranked) tensors.targets.shape.erase(tensors.targets.shape.begin() + axis);
  const bool extents = std::all_of(shape.begin(), shape.end(), [](int64_t x) { return x >= 0; });
  const bool right =
      ranked && extents && shape[axis] > 0 && shape[axis] <= INT32_MAX && Elements(shape) <= kLimit;
  LossSpec spec;
  const auto check = [&] {
    const absl::StatusOr<LossPlan> plan = LossPlan::Make(spec, tensors);
    Require(plan.ok() == right, absl::StrCat(ShapeString(shape), ": ", plan.status().ToString()));
  };
  check();
  spec.loss = SquaredErrorLoss{};
  tensors.target_kind = TargetKind::kTargetValues;
  tensors.targets.shape = shape;
  check();
}

// The products of core/types, which say "no" by themselves.
void CheckCounts(const TensorDesc& desc) {
  const bool negative =
      std::any_of(desc.shape.begin(), desc.shape.end(), [](int64_t x) { return x < 0; });
  const bool empty = std::count(desc.shape.begin(), desc.shape.end(), 0) > 0;
  Wide product = 1;  // as if no dimension were empty, stopped where 64 bits are full
  for (const int64_t extent : desc.shape) {
    if (extent > 0) product = std::min(Wide{1} << 64, product * extent);
  }
  const bool fits = !negative && product <= INT64_MAX;
  const std::optional<int64_t> count = ElementCount(desc.shape);
  Require(count.has_value() == fits, "ElementCount is wrong about an overflow");
  if (fits) Require(*count == (empty ? Wide{0} : product), "ElementCount is wrong");
}

}  // namespace

void TestOne(Input input) {
  LossTensorDescs tensors;
  Shape shape;
  for (int64_t rank = input.Below(10); rank > 0; --rank) shape.push_back(input.Integer());
  const DType dtype = static_cast<DType>(1 + input.Byte() % 4);
  CheckExtents(shape, dtype);
  CheckCounts({dtype, shape});

  const LossSpec spec = AnySpec(input);
  tensors.predictions = {dtype, shape,
                         input.Byte() % 3 == 0 ? Layout::kColumnMajor : Layout::kRowMajor};
  if (input.Byte() % 8 == 0) tensors.predictions = AnyTensor(input, shape);
  tensors.target_kind = AnyTargetKind(input);
  tensors.targets = AnyTensor(input, shape);
  if (input.Byte() % 3 == 2) tensors.class_weights = AnyTensor(input, shape);
  if (input.Byte() % 3 == 2) tensors.position_weights = AnyTensor(input, shape);
  if (input.Byte() % 3 == 2) tensors.upstream_gradient = AnyTensor(input, shape);
  const absl::StatusOr<LossPlan> plan = LossPlan::Make(spec, tensors);
  if (plan.ok()) {
    CheckPlan(*plan, input);
  } else {
    const absl::StatusCode code = plan.status().code();
    Require(code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kUnimplemented,
            plan.status().ToString());
  }
}

}  // namespace lossd::fuzz
