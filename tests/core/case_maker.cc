#include "tests/core/case_maker.h"

#include <cmath>
#include <iterator>
#include <optional>
#include <type_traits>
#include <vector>

#include "lossd/shapes.h"
#include "tests/support/oracle_shape.h"

namespace lossd::oracle {
namespace {

bool IsUnsigned(DType dtype) {
  return dtype == DType::kU8 || dtype == DType::kU16 || dtype == DType::kU32 ||
         dtype == DType::kU64;
}

DType AnyFloat(Random& random) { return kFloatDTypes[random.Below(4)]; }

std::vector<int64_t> MakeShape(const Factors& factors, Random& random) {
  if (!factors.shape.empty()) return factors.shape;
  std::vector<int64_t> shape;
  const bool many = factors.rank > 4;
  for (int d = 0; d < factors.rank; ++d) shape.push_back(1 + random.Below(many ? 2 : 4));
  // On both sides of every vector length, now and then.
  shape[factors.axis] = random.OneIn(6) ? 15 + random.Below(20) : 1 + random.Below(9);
  return shape;
}

void AddTargets(const Factors& factors, Random& random, LossCase& c) {
  const std::vector<int64_t>& shape = c.predictions.desc.shape;
  c.target_kind = factors.target_kind;
  if (factors.target_kind == TargetKind::kTargetValues) {
    AddElementTensors(factors.label_dtype, random, c);
    if (FactsOf(c.spec.loss).ignores && random.OneIn(3)) {
      c.spec.ignore_labels = {random.Pick<int64_t>({0, 1, -1}), 7};
    }
    return;
  }
  if (factors.target_kind == TargetKind::kClassProbabilities) {
    c.targets = OwnedTensor::Make(AnyFloat(random), shape, factors.layout, [&](int64_t) {
      return random.OneIn(4) ? Real(0) : random.Uniform(0, 1);
    });
    return;
  }
  const int64_t ignored = IsUnsigned(factors.label_dtype) ? 200 : -100;
  if (random.OneIn(2)) c.spec.ignore_labels = {ignored, 1000};
  if (random.OneIn(4)) c.spec.ignore_labels.push_back(0);
  const bool has_ignored = !c.spec.ignore_labels.empty() && c.spec.ignore_labels[0] == ignored;
  c.targets = OwnedTensor::Make(
      factors.label_dtype, LabelShape(shape, factors.axis, random.OneIn(2)), factors.layout,
      [&](int64_t) {
        return Real(has_ignored && random.OneIn(3) ? ignored : random.Below(shape[factors.axis]));
      });
}

void AddClassWeights(const Factors& factors, Random& random, LossCase& c) {
  if (factors.weights == WeightsForm::kNone) return;
  if (!Takes(FactsOf(factors.loss), Role::kClassWeights)) return;
  std::vector<int64_t> shape = c.predictions.desc.shape;
  if (factors.weights == WeightsForm::kPerClass) shape = {shape[factors.axis]};
  if (factors.weights == WeightsForm::kOneSample) shape.erase(shape.begin() + factors.batch_axis());
  // Normalising sums have to be positive.
  const bool zeros = factors.normalization == WeightNormalization::kNone ||
                     factors.weights == WeightsForm::kPerClass;
  c.class_weights = OwnedTensor::Make(AnyFloat(random), shape, factors.layout, [&](int64_t i) {
    return zeros && i > 0 && random.OneIn(5) ? Real(0) : random.Uniform(0.05L, 3);
  });
  c.spec.weight_normalization = factors.normalization;
  if (factors.normalization == WeightNormalization::kLocal && random.OneIn(2)) {
    c.spec.weight_normalization.reset();  // the default
  }
}

void AddPositionTensors(const Factors& factors, Random& random, LossCase& c) {
  const auto tensor = [&](Real low, Real high) {
    const std::vector<int64_t>& shape = c.predictions.desc.shape;
    const bool of_elements = FactsOf(c.spec.loss).family == Family::kElements;
    // Drawn in order: that of arguments is the compiler's affair, and differs between processors.
    const DType dtype = AnyFloat(random);
    return OwnedTensor::Make(
        dtype, of_elements ? shape : LabelShape(shape, factors.axis, random.OneIn(2)),
        factors.layout,
        [&](int64_t) { return random.OneIn(6) ? Real(0) : random.Uniform(low, high); });
  };
  if (random.OneIn(3)) c.position_weights = tensor(0, 2);
  if (random.OneIn(3)) c.upstream_gradient = tensor(-2, 2);
  const auto* const policy = std::get_if<PolicyLoss>(&c.spec.loss);
  if (policy == nullptr || !policy->of_logits()) return;
  c.advantages = tensor(-2, 2);
  if (random.OneIn(2)) c.old_log_probabilities = tensor(-6, 0);
  if (policy->kl_coefficient != 0) c.reference_log_probabilities = tensor(-6, 0);
}

// Half of the time the default.
template <class L, class T>
void DrawOption(Random& random, const Option<L, T>& option, L& loss) {
  T& value = loss.*option.member;
  if constexpr (kIsMessage<T> || std::is_same_v<T, RatioLevel>) {
    return;  // see DrawMargin, and sequence_policy_test.cc
  } else if constexpr (kIsOneOf<T>) {
    const int64_t drawn = random.Below(std::variant_size_v<T> - 1);
    int64_t index = 0;
    ForEachMember<T>([&]<class M>(const M&) {
      if (index++ != drawn) return;
      M message;
      ForEachOption<M>([&](const auto& inner) { DrawOption(random, inner, message); });
      value = message;
    });
    return;
  } else if constexpr (std::is_enum_v<T>) {
    const auto words = static_cast<int>(std::size(Words<T>::kNames));
    if (random.OneIn(2)) value = static_cast<T>(1 + random.Below(words));
  } else if constexpr (std::is_same_v<T, bool>) {
    value = random.OneIn(2);
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    value = {random.Pick({0.5, 0.1, 0.9})};
  } else if constexpr (std::is_same_v<T, int32_t>) {
    const int drawn = random.Pick({0, 1, 2});
    if (option.range.Has(drawn)) value = drawn;
  } else {
    const double usual = std::optional<double>(option.default_value()).value_or(0);
    // What divides logits is of their size.
    const bool divides = option.name == "temperature" || option.name == "soft_cap";
    const double drawn = divides ? random.Pick({usual, usual, 0.3, 1.0, 2.0, 30.0})
                                 : random.Pick({usual, usual, 0.0, 1e-20, 1e-3, 0.3, 1.0, 2.0});
    if (option.range.Has(drawn)) value = drawn;
  }
}

// Of a third of the softmax losses.
void DrawMargin(Random& random, LossSpec& spec) {
  auto* const softmax = std::get_if<SoftmaxLoss>(&spec.loss);
  if (softmax == nullptr || !random.OneIn(3)) return;
  SoftmaxMargin margin;
  ForEachOption<SoftmaxMargin>([&](const auto& option) { DrawOption(random, option, margin); });
  SoftmaxLoss with_margin = *softmax;
  with_margin.margin = margin;
  const auto conflicts = [&](const auto&... conflict) {
    return (conflict.exists(with_margin) || ...);
  };
  if (!std::apply(conflicts, LossRow<SoftmaxLoss>::kConflicts)) *softmax = with_margin;
}

void AddScalars(const Factors& factors, Random& random, LossCase& c) {
  LossSpec& spec = c.spec;
  spec.loss = factors.loss;
  std::visit(
      [&]<class L>(L& loss) {
        ForEachOption<L>([&](const auto& option) { DrawOption(random, option, loss); });
        const auto conflicts = [&loss](const auto&... conflict) {
          return (conflict.exists(loss) || ...);
        };
        if constexpr (std::is_same_v<L, PolicyLoss>) {
          loss.input = std::get<L>(factors.loss).input;
        }
        if (std::apply(conflicts, LossRow<L>::kConflicts)) loss = std::get<L>(factors.loss);
      },
      spec.loss);
  if (factors.margin) DrawMargin(random, spec);
  const int rank = factors.rank;
  const TensorDesc of_ones{factors.dtype, std::vector<int64_t>(rank, 1), factors.layout};
  if (factors.axis != ClassAxis(std::nullopt, of_ones) || random.OneIn(2)) {
    spec.class_axis = random.OneIn(2) ? factors.axis : factors.axis - rank;
  }
  if (FactsOf(spec.loss).smooths && random.OneIn(3)) {
    spec.label_smoothing = random.Pick({0.1, 0.5, 0.999, 1e-6});
  }
  if (random.OneIn(3)) spec.loss_weight = random.Pick({0.25, 0.7, 3.0, 0.0});
  if (random.OneIn(3)) spec.gradient_scale = random.Pick({-1.0, 1024.0, 0.3, -1e-3, 0.0});
  if (random.OneIn(2)) spec.gradient_dtype = AnyFloat(random);
  spec.reduction = factors.reduction;
  if (factors.reduction == Reduction::kGiven) spec.denominator = random.Pick({7.0, 0.3, 1000.0});
  spec.all_ignored_policy =
      random.Pick({AllIgnoredPolicy::kZero, AllIgnoredPolicy::kNan, AllIgnoredPolicy::kError});
  spec.outputs = AllOutputs(spec.loss);
}

}  // namespace

bool Factors::valid() const {
  if (axis >= rank) return false;
  if (rank == 1) return weights != WeightsForm::kOneSample;
  if (axis != batch_axis()) return true;
  return weights != WeightsForm::kOneSample && reduction != Reduction::kBatch &&
         !(weights == WeightsForm::kFull && normalization == WeightNormalization::kGlobal);
}

std::vector<int64_t> LabelShape(std::vector<int64_t> shape, int axis, bool removed) {
  if (removed) {
    shape.erase(shape.begin() + axis);
  } else {
    shape[axis] = 1;
  }
  return shape;
}

Real TypicalPrediction(const Loss& loss, Random& random) {
  const auto* const softmax = std::get_if<SoftmaxLoss>(&loss);
  if (softmax != nullptr && softmax->has_margin()) return random.Uniform(-1.02L, 1.02L);
  switch (FactsOf(loss).predictions) {
    case Domain::kLogits:
      return random.Uniform(-8, 8);
    case Domain::kProbabilities:
      return random.OneIn(16) ? Real(0) : random.Uniform(0, 1);
    case Domain::kLogProbabilities:
      return random.Uniform(-10, 0);
    case Domain::kNumbers:
      return random.Uniform(-8, 8);
  }
  return 0;
}

// Leaves out what is refused beside something else, or has no digits.
void DropRefused(const Factors& factors, LossCase& c) {
  auto* const softmax = std::get_if<SoftmaxLoss>(&c.spec.loss);
  if (softmax == nullptr) return;
  if (factors.target_kind != TargetKind::kClassIndices || c.spec.label_smoothing > 0) {
    softmax->focal_gamma.reset();
    softmax->margin = {};
  }
  // Divided by less, what a soft cap rounds is larger than the distances of the logits.
  if (softmax->soft_cap) softmax->temperature = std::fmax(softmax->temperature, 1e-3);
}

// The targets of a loss of rows that takes values or lists of labels.
void AddRowTargets(const Factors& factors, Random& random, LossCase& c) {
  const LossFacts& facts = FactsOf(c.spec.loss);
  const TensorDesc& like = c.predictions.desc;
  const int64_t classes = like.shape[factors.axis];
  if (facts.label_lists) {
    std::vector<int64_t> shape = LabelShape(like.shape, factors.axis, true);
    shape.push_back(1 + random.Below(classes));
    const bool any_sign = !IsUnsigned(factors.label_dtype);
    c.targets = OwnedTensor::Make(factors.label_dtype, shape, factors.layout, [&](int64_t) {
      return any_sign && random.OneIn(4) ? Real(-1) : Real(random.Below(classes));
    });
    return;
  }
  const bool per_position = facts.targets_per == Per::kPosition;
  c.target_kind = Takes(facts, Role::kTargetValues) ? TargetKind::kTargetValues
                                                    : TargetKind::kClassProbabilities;
  const auto* const kl = std::get_if<KlDivergenceLoss>(&c.spec.loss);
  const bool logs = kl != nullptr && kl->log_targets;
  const DType dtype = kFloatDTypes[random.Below(4)];
  const bool removed = per_position && random.OneIn(2);
  c.targets = OwnedTensor::Make(
      dtype, per_position ? LabelShape(like.shape, factors.axis, removed) : like.shape, like.layout,
      [&](int64_t) -> Real {
        if (TargetsOf(c.spec.loss) == TargetRange::kSigned) return random.OneIn(2) ? 1 : -1;
        if (per_position) return random.Uniform(-8, 8);
        if (logs) return random.Uniform(-6, 0);
        return random.OneIn(4) ? 0 : random.Uniform(0, 1);
      });
}

// What losses of rows take beside predictions.
void AddRowTensors(const Factors& factors, Random& random, LossCase& c) {
  const LossFacts& facts = FactsOf(c.spec.loss);
  const TensorDesc& like = c.predictions.desc;
  if (!facts.ignores) c.spec.ignore_labels.clear();
  if (!TakesTargets(facts)) {
    c.target_kind = TargetKind::kNone;
  } else if (!Takes(facts, Role::kClassIndices) || facts.label_lists) {
    AddRowTargets(factors, random, c);
  }
  if (Takes(facts, Role::kSecondPredictions)) {
    const bool close = random.OneIn(3);
    const DType dtype = kFloatDTypes[random.Below(4)];
    c.second_predictions = OwnedTensor::Make(dtype, like.shape, like.layout,
                                             [&](int64_t) { return random.Uniform(-8, 8); });
    for (int64_t i = 0; close && i < c.predictions.size(); ++i) {
      c.second_predictions->set(i, c.predictions.at(i) * (1 + 1e-3L * random.Uniform(-1, 1)));
    }
  }
  if (!Takes(facts, Role::kGroundMetric)) return;
  const int64_t classes = like.shape[factors.axis];
  const DType dtype = kFloatDTypes[random.Below(4)];
  c.ground_metric = OwnedTensor::Make(dtype, {classes, classes}, like.layout, [&](int64_t) {
    return random.OneIn(4) ? Real(0) : random.Uniform(0, 4);
  });
}

// One for each class; the shape has two classes at least.
void DrawQuantiles(Random& random, LossCase& c, int64_t classes) {
  QuantileLoss loss;
  for (int64_t k = 0; k < classes; ++k)
    loss.quantiles.push_back(random.Pick({0.05, 0.3, 0.5, 0.9}));
  c.spec.loss = loss;
  c.spec.outputs = AllOutputs(loss);
}

LossCase MakeCase(const Factors& factors, Random& random) {
  LossCase c;
  AddScalars(factors, random, c);
  DropRefused(factors, c);
  std::vector<int64_t> shape = MakeShape(factors, random);
  const auto* const quantile = std::get_if<QuantileLoss>(&factors.loss);
  if (quantile != nullptr && quantile->several()) {
    shape[factors.axis] = std::max<int64_t>(shape[factors.axis], 2);
    DrawQuantiles(random, c, shape[factors.axis]);
  }
  c.predictions = OwnedTensor::Make(factors.dtype, shape, factors.layout, [&](int64_t) {
    return TypicalPrediction(c.spec.loss, random);
  });
  AddTargets(factors, random, c);
  AddClassWeights(factors, random, c);
  AddPositionTensors(factors, random, c);
  if (FactsOf(c.spec.loss).family == Family::kRows) AddRowTensors(factors, random, c);
  return c;
}

namespace {

Real TypicalTarget(const LossCase& c, int64_t i, DType dtype, Random& random) {
  switch (TargetsOf(c.spec.loss)) {
    case TargetRange::kZeroOne: {
      const bool soft = IsFloating(dtype) && Takes(FactsOf(c.spec.loss), Role::kPosWeight);
      return soft && random.OneIn(3) ? random.Uniform(0, 1) : Real(random.Below(2));
    }
    case TargetRange::kSigned:
      return IsUnsigned(dtype) ? 1 : Real(2 * random.Below(2) - 1);
    case TargetRange::kAny:
      break;
  }
  if (!IsFloating(dtype)) return Real(random.Below(100));
  return random.OneIn(4) ? c.predictions.at(i) : TypicalPrediction(c.spec.loss, random);
}

}  // namespace

void AddElementTensors(DType target_dtype, Random& random, LossCase& c) {
  const TensorDesc& like = c.predictions.desc;
  const LossFacts& facts = FactsOf(c.spec.loss);
  c.target_kind = TargetKind::kNone;
  if (TakesTargets(facts)) {
    c.target_kind = TargetKind::kTargetValues;
    c.targets = OwnedTensor::Make(target_dtype, like.shape, like.layout, [&](int64_t i) {
      return TypicalTarget(c, i, target_dtype, random);
    });
  }
  const auto numbers = [&](Real low, Real high) {
    return OwnedTensor::Make(AnyFloat(random), like.shape, like.layout,
                             [&](int64_t) { return random.Uniform(low, high); });
  };
  const bool of_sequences = facts.predictions == Domain::kLogProbabilities;
  if (Takes(facts, Role::kSecondPredictions)) {
    c.second_predictions = of_sequences ? numbers(-10, 0) : numbers(-0.5L, 3);
  }
  if (Takes(facts, Role::kReferenceLogProbabilities))
    c.reference_log_probabilities = numbers(-10, 0);
  if (Takes(facts, Role::kSecondReferenceLogProbabilities)) {
    c.second_reference_log_probabilities = numbers(-10, 0);
  }
  if (const auto* preference = std::get_if<PreferenceLoss>(&c.spec.loss)) {
    if (!preference->has_reference() || random.OneIn(4)) {
      c.reference_log_probabilities.reset();
      c.second_reference_log_probabilities.reset();
    }
  }
  if (const auto* policy = std::get_if<PolicyLoss>(&c.spec.loss)) {
    c.advantages = numbers(-2, 2);
    if (random.OneIn(2)) c.old_log_probabilities = numbers(-10, 0);
    if (policy->kl_coefficient == 0) c.reference_log_probabilities.reset();
  }
  const auto* const value = std::get_if<ValueLoss>(&c.spec.loss);
  if (value != nullptr && value->value_clip) c.old_values = numbers(-8, 8);
  if (Takes(facts, Role::kPosWeight) && random.OneIn(2)) {
    const int axis = GeometryOf(c.spec, like).class_axis;
    const DType dtype = AnyFloat(random);
    c.pos_weight =
        OwnedTensor::Make(dtype, {random.OneIn(2) ? 1 : like.shape[axis]}, Layout::kRowMajor,
                          [&](int64_t) { return random.Uniform(0, 3); });
  }
}

LossCase PlainCase(const Loss& loss, DType dtype, int64_t rows, int64_t classes, Random& random) {
  LossCase c;
  c.spec.loss = loss;
  c.spec.outputs = AllOutputs(loss);
  c.predictions = OwnedTensor::Make(dtype, {rows, classes}, Layout::kRowMajor,
                                    [&](int64_t) { return TypicalPrediction(loss, random); });
  c.targets = OwnedTensor::Make(DType::kI32, {rows}, Layout::kRowMajor,
                                [&](int64_t) { return Real(random.Below(classes)); });
  return c;
}

std::vector<std::vector<int64_t>> BothKernelShapes() { return {{23, 37}, {3, 19, 21}}; }

LossCase TypicalCase(const Loss& loss, DType dtype, const std::vector<int64_t>& shape,
                     TargetKind kind, Random& random) {
  LossCase c;
  c.spec.loss = loss;
  c.spec.outputs = AllOutputs(loss);
  c.predictions = OwnedTensor::Make(dtype, shape, Layout::kRowMajor,
                                    [&](int64_t) { return TypicalPrediction(loss, random); });
  c.target_kind = kind;
  switch (kind) {
    case TargetKind::kClassProbabilities:
      c.targets = OwnedTensor::Make(dtype, shape, Layout::kRowMajor, [&](int64_t) {
        return random.OneIn(3) ? Real(0) : random.Uniform(0, 1);
      });
      break;
    case TargetKind::kTargetValues:
      c.targets = OwnedTensor::Make(dtype, shape, Layout::kRowMajor,
                                    [&](int64_t) { return TypicalPrediction(loss, random); });
      break;
    case TargetKind::kClassIndices:
      c.targets = OwnedTensor::Make(DType::kI16, LabelShape(shape, 1, true), Layout::kRowMajor,
                                    [&](int64_t) { return Real(random.Below(shape[1])); });
      break;
    case TargetKind::kNone:
      break;
  }
  return c;
}

OwnedTensor PerPosition(const LossCase& c, DType dtype, Real low, Real high, Random& random) {
  return OwnedTensor::Make(dtype, LabelShape(c.predictions.desc.shape, 1, false), Layout::kRowMajor,
                           [&](int64_t) { return random.Uniform(low, high); });
}

}  // namespace lossd::oracle
