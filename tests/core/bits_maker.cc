#include "tests/core/bits_maker.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <variant>

namespace lossd::oracle {
namespace {

// A binary format as its fields.
struct Fields {
  int fraction_bits;
  uint64_t exponent_mask;  // all ones: infinities and NaNs
};

Fields FieldsOf(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return {52, 0x7ff};
    case DType::kF32:
      return {23, 0xff};
    case DType::kF16:
      return {10, 0x1f};
    default:
      return {7, 0xff};  // bf16
  }
}

// A NaN of any sign and payload, quiet or signalling.
void SetAnyNaN(OwnedTensor& tensor, int64_t i, Random& random) {
  const DType dtype = tensor.desc.dtype;
  const Fields fields = FieldsOf(dtype);
  const uint64_t fraction = 1 + random.Below((int64_t{1} << fields.fraction_bits) - 1);
  const uint64_t sign = random.Below(2);
  const uint64_t bits =
      sign << (8 * SizeOf(dtype) - 1) | fields.exponent_mask << fields.fraction_bits | fraction;
  std::memcpy(tensor.bytes.data() + i * SizeOf(dtype), &bits, SizeOf(dtype));
}

// What a tensor holds of a domain, as integers over a power of two that every format can hold.
class Maker {
 public:
  Maker(Numbers numbers, Random& random) : numbers_(numbers), random_(random) {}

  // Numbers between low and high, in steps of 1/32, or what else the request has.
  void Fill(OwnedTensor& tensor, int64_t low, int64_t high) {
    FillWeights(tensor, low, high);
    if (!IsFloating(tensor.desc.dtype)) return;  // integers are exact as they are
    for (int64_t i = 0; i < tensor.size(); ++i) MakeSpecial(tensor, i);
  }

  // Only numbers.
  void FillWeights(OwnedTensor& tensor, int64_t low, int64_t high) {
    if (!IsFloating(tensor.desc.dtype)) return;
    for (int64_t i = 0; i < tensor.size(); ++i) {
      tensor.set(i, Real(numbers_ == Numbers::kTies ? Tie(low, high) : Step(tensor, low, high)));
    }
  }

  void FillPredictions(const Loss& loss, OwnedTensor& tensor) {
    const auto* const softmax = std::get_if<SoftmaxLoss>(&loss);
    if (softmax != nullptr && softmax->has_margin()) return Fill(tensor, -1, 1);
    switch (FactsOf(loss).predictions) {
      case Domain::kProbabilities:
        return Fill(tensor, 0, 1);
      case Domain::kLogProbabilities:
        return Fill(tensor, -7, 0);
      case Domain::kLogits:
      case Domain::kNumbers:
        return Fill(tensor, -7, 7);
    }
  }

 private:
  // Of binary32 and binary64 with further bits behind those that the 16-bit formats have.
  double Step(const OwnedTensor& tensor, int64_t low, int64_t high) {
    const double steps = static_cast<double>(32 * low + random_.Below(32 * (high - low) + 1));
    const auto finer = static_cast<double>(random_.Below(1 << 15)) / (1 << 15);
    const bool is_wide = SizeOf(tensor.desc.dtype) > 2 && steps < 32 * static_cast<double>(high);
    return (is_wide ? steps + finer : steps) / 32;
  }

  double Tie(int64_t low, int64_t high) {
    return static_cast<double>(low + random_.Below(high - low + 1));
  }

  void MakeSpecial(OwnedTensor& tensor, int64_t i) {
    constexpr double kInf = std::numeric_limits<double>::infinity();
    const bool huge = numbers_ == Numbers::kHuge || numbers_ == Numbers::kHugeAndNaNs;
    if (huge && random_.OneIn(2)) {
      const int exponent = tensor.desc.dtype == DType::kF64   ? 1019
                           : tensor.desc.dtype == DType::kF16 ? 12
                                                              : 123;
      tensor.set(i, std::ldexp(tensor.at(i), exponent));
    }
    switch (numbers_) {
      case Numbers::kInfinities:
        if (random_.OneIn(5)) tensor.set(i, random_.OneIn(3) ? 0 : -kInf);
        return;
      case Numbers::kNaNs:
        if (random_.OneIn(12)) {
          tensor.set(i, random_.Pick({kInf, -kInf, std::numeric_limits<double>::quiet_NaN()}));
        }
        return;
      case Numbers::kAnyNaNs:
      case Numbers::kHugeAndNaNs:
        if (random_.OneIn(10)) SetAnyNaN(tensor, i, random_);
        return;
      default:
        return;
    }
  }

  const Numbers numbers_;
  Random& random_;
};

void MakeScalarsHuge(Random& random, LossSpec& spec) {
  if (random.OneIn(2)) spec.loss_weight = random.Pick({0x1p1000, 0x1p120, 0x1p-1000});
  if (random.OneIn(2)) spec.gradient_scale = random.Pick({0x1p1000, -0x1p200, 0x1p-1000});
}

// Two sequences whose frames are rows, with labels that are not 0.
LossCase MakeCtcCase(const Factors& factors, Random& random) {
  const int64_t frames = factors.shape[0];
  const int64_t classes = factors.shape[1];
  LossCase c;
  CtcLoss loss;
  loss.time_axis = 1;
  c.spec.loss = loss;
  c.spec.class_axis = 2;
  c.spec.outputs = AllOutputs(loss);
  c.predictions = OwnedTensor::Make(factors.dtype, {2, frames, classes}, Layout::kRowMajor,
                                    [&](int64_t) { return Real(0); });
  c.targets = OwnedTensor::Make(DType::kI32, {2, frames}, Layout::kRowMajor,
                                [&](int64_t) { return Real(1 + random.Below(classes - 1)); });
  c.label_lengths = OwnedTensor::Make(DType::kI32, {2}, Layout::kRowMajor,
                                      [&](int64_t) { return Real(random.Below(frames + 1)); });
  c.input_lengths = OwnedTensor::Make(DType::kI32, {2}, Layout::kRowMajor,
                                      [&](int64_t) { return Real(random.Below(frames + 1)); });
  return c;
}

// The tensors of a softmax loss.
LossCase MakeTverskyCase(const Factors& factors, Random& random) {
  Factors softmax = factors;
  softmax.loss = SoftmaxLoss();
  if (softmax.weights != WeightsForm::kNone) softmax.weights = WeightsForm::kPerClass;
  LossCase c = MakeCase(softmax, random);
  TverskyLoss loss;
  loss.power = random.Pick({1.0, 2.0, 0.75});
  loss.activation = random.Pick({Activation::kSoftmax, Activation::kSigmoid, Activation::kNone});
  loss.group = random.Pick({Grouping::kBatch, Grouping::kSample});
  if (factors.axis == factors.batch_axis()) loss.group = Grouping::kBatch;
  c.spec.loss = loss;
  c.spec.label_smoothing = 0;
  c.spec.outputs = AllOutputs(loss);
  c.upstream_gradient.reset();
  return c;
}

LossCase MakeUsualCase(const Factors& factors, Random& random) {
  if (std::holds_alternative<CtcLoss>(factors.loss)) return MakeCtcCase(factors, random);
  if (std::holds_alternative<TverskyLoss>(factors.loss)) return MakeTverskyCase(factors, random);
  LossCase c = MakeCase(factors, random);
  const auto* const policy = std::get_if<PolicyLoss>(&factors.loss);
  if (policy != nullptr && policy->of_sequences()) {
    std::get<PolicyLoss>(c.spec.loss).ratio_level = RatioLevel::kSequence;
  }
  return c;
}

// Numbers made of integers in the place of its own.
void Refill(Numbers numbers, Random& random, LossCase& c) {
  Maker maker(numbers, random);
  maker.FillPredictions(c.spec.loss, c.predictions);
  if (c.second_predictions) maker.FillPredictions(c.spec.loss, *c.second_predictions);
  // Of the losses of 0 and 1 only those take what lies between that may weigh positives.
  const bool soft = TargetsOf(c.spec.loss) == TargetRange::kZeroOne &&
                    Takes(FactsOf(c.spec.loss), Role::kPosWeight);
  if (c.target_kind == TargetKind::kClassProbabilities || soft) {
    maker.Fill(c.targets, 0, 1);
  } else if (c.target_kind == TargetKind::kTargetValues &&
             TargetsOf(c.spec.loss) == TargetRange::kAny) {
    maker.Fill(c.targets, 0, 3);
  }
  for (auto* const weights : {&c.class_weights, &c.position_weights, &c.pos_weight,
                              &c.sparse_probabilities, &c.ground_metric}) {
    if (*weights) maker.FillWeights(**weights, 0, 3);
  }
  for (auto* const numbers_of : {&c.upstream_gradient, &c.class_bias, &c.advantages}) {
    if (*numbers_of) maker.Fill(**numbers_of, -2, 2);
  }
  for (auto* const logs : {&c.old_log_probabilities, &c.reference_log_probabilities,
                           &c.second_reference_log_probabilities, &c.old_values}) {
    if (*logs) maker.Fill(**logs, -7, 0);
  }
  const bool huge = numbers == Numbers::kHuge || numbers == Numbers::kHugeAndNaNs;
  if (huge) MakeScalarsHuge(random, c.spec);
}

}  // namespace

LossCase MakeBitsCase(const Factors& factors, Numbers numbers, Random& random) {
  LossCase c = MakeUsualCase(factors, random);
  Refill(numbers, random, c);
  return c;
}

LossCase MakeSparseBitsCase(const Factors& factors, Numbers numbers, Random& random) {
  LossCase c = MakeUsualCase(factors, random);
  std::get<SoftmaxLoss>(c.spec.loss).focal_gamma.reset();
  c.spec.ignore_labels.clear();
  c.spec.outputs.label_log_probabilities = false;
  const int64_t classes = c.predictions.desc.shape[factors.axis];
  std::vector<int64_t> shape = LabelShape(c.predictions.desc.shape, factors.axis, true);
  shape.push_back(3);
  c.targets = OwnedTensor::Make(factors.label_dtype, shape, factors.layout,
                                [&](int64_t) { return Real(random.Below(classes)); });
  c.sparse_probabilities =
      OwnedTensor::Make(factors.dtype, shape, factors.layout, [](int64_t) { return Real(0); });
  Refill(numbers, random, c);
  return c;
}

}  // namespace lossd::oracle
