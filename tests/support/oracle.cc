#include "tests/support/oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/support/oracle_row.h"
#include "tests/support/oracle_shape.h"
#include "tests/support/oracle_softmax.h"
#include "tests/support/oracle_weights.h"

namespace lossd::oracle {
namespace {

constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();
const Real kU64 = UnitRoundoff(DType::kF64);

Real ElementOf(const TensorView& tensor, int64_t address) {
  const int64_t size = SizeOf(tensor.desc.dtype);
  return Widen(tensor.desc.dtype, tensor.bytes.data() + address * size);
}

int64_t LowestIndexOfMaximum(const std::vector<Real>& values) {
  return std::max_element(values.begin(), values.end()) - values.begin();  // the first of equals
}

bool HasNan(const std::vector<Real>& values) {
  return std::any_of(values.begin(), values.end(), [](Real v) { return std::isnan(v); });
}

// What slopes are rounded to: f64 only where the predictions are.
DType ComputeType(const LossInputs& inputs) {
  return inputs.predictions.desc.dtype == DType::kF64 ? DType::kF64 : DType::kF32;
}

Bounded One(Real value, Real bound) { return {{value}, {bound}}; }

// Everything known of a position before D.
struct Position {
  int64_t address = 0;            // in tensors with the shape of the labels
  std::vector<int64_t> elements;  // of its classes, in the predictions
  Row row;
  std::vector<Real> plain_targets;  // t before smoothing
  bool ignored = false;
  Real q = 1;
  Real upstream = 1;
  RowAnswer answer;
  bool weightless = false;  // its weights alone make its loss and its gradient 0

  bool weighs_itself = false;  // q alone is its weight

  // w_i: the class weight that enters weight_sum, which never sees smoothing.
  Real weight() const {
    if (weighs_itself) return 1;
    Real sum = 0;
    for (size_t k = 0; k < plain_targets.size(); ++k) {
      if (plain_targets[k] != 0) sum += row.weights[k] * plain_targets[k];
    }
    return sum;
  }
};

class Computation {
 public:
  Computation(const LossSpec& spec, const LossInputs& inputs)
      : spec_(spec),
        inputs_(inputs),
        geometry_(GeometryOf(spec, inputs.predictions.desc)),
        weights_(spec, geometry_, inputs.class_weights),
        compute_type_(ComputeType(inputs)) {}

  Answer Run();

 private:
  std::vector<Position> ReadAll() const;
  Position Read(const Index& index) const;
  Position ReadElement(const Index& index) const;
  void ReadPositionTensors(Position& position) const;
  void ReadToken(Position& position) const;
  void ReadTargets(Position& position) const;
  std::vector<int64_t> Slots(const Position& position) const;
  void ReadSparseTargets(Position& position) const;
  void ReadLabelList(Position& position) const;
  void Count(const Position& position);
  void FindDenominator();
  void FinishLoss();
  void PositionLoss(const Position& position);
  void Gradient(const Position& position);
  struct GradientEntry {
    Real coefficient;
    Real slope;
    Real slope_bound;
  };
  void Entry(const GradientEntry& entry, int64_t element, DType out, Bounded& to);
  void SideOutputs(const Position& position);
  std::vector<Real> Ordered(const Row& row) const;

  // Whether the policy for D = 0 applies.
  bool depends_on_data() const {
    return spec_.reduction == Reduction::kValid || spec_.reduction == Reduction::kWeightSum ||
           spec_.reduction == Reduction::kGiven;
  }

  // How many f64 roundings the coefficient of a gradient entry may have seen.
  int CoefficientRoundings() const;

  const LossSpec& spec_;
  const LossInputs& inputs_;
  const Geometry geometry_;
  const ClassWeights weights_;
  const DType compute_type_;

  Answer answer_;
  Real denominator_ = 1;
  Real denominator_bound_ = 0;
};

Answer Computation::Run() {
  std::vector<Position> positions = ReadAll();
  const size_t elements = AllIndices(geometry_.shape).size();
  for (Bounded* array : {&answer_.gradient, &answer_.probabilities, &answer_.second_gradient}) {
    array->values.assign(elements, 0);
    array->bounds.assign(elements, 0);
  }
  for (Bounded* array : {&answer_.position_losses, &answer_.log_sum_exp,
                         &answer_.label_log_probabilities, &answer_.entropy}) {
    array->values.assign(positions.size(), 0);
    array->bounds.assign(positions.size(), 0);
  }
  answer_.hits.assign(positions.size(), 0);
  answer_.ranks.assign(positions.size(), -1);
  answer_.loss_sum = One(0, 0);
  answer_.weight_sum = One(0, 0);

  for (Position& position : positions) {
    position.answer = ComputeRow(spec_.loss, position.row, compute_type_);
    Count(position);
    PositionLoss(position);
    SideOutputs(position);
    position.row = Row();  // what the gradient needs is in the answer
    position.plain_targets = std::vector<Real>();
  }
  if (spec_.non_finite_policy == NonFinitePolicy::kError && answer_.nonfinite_count > 0) {
    answer_.refused = "a row is not finite";
    return answer_;
  }
  // One rounding of each exact sum.
  answer_.loss_sum.bounds[0] += HalfUlp(DType::kF64, answer_.loss_sum.values[0]);
  answer_.weight_sum.bounds[0] += HalfUlp(DType::kF64, answer_.weight_sum.values[0]);
  FindDenominator();
  if (!answer_.refused.empty()) return answer_;
  FinishLoss();
  for (const Position& position : positions) Gradient(position);
  return answer_;
}

std::vector<Position> Computation::ReadAll() const {
  std::vector<Position> positions;
  if (FactsOf(spec_.loss).family == Family::kElements) {
    for (const Index& index : AllIndices(geometry_.shape)) positions.push_back(ReadElement(index));
  } else {
    for (const Index& index : geometry_.Positions()) positions.push_back(Read(index));
  }
  return positions;
}

void Computation::ReadPositionTensors(Position& position) const {
  if (inputs_.position_weights) position.q = ElementOf(*inputs_.position_weights, position.address);
  if (inputs_.upstream_gradient) {
    position.upstream = ElementOf(*inputs_.upstream_gradient, position.address);
  }
}

// A row of the element alone, whose target is a number and not the mass of a class.
Position Computation::ReadElement(const Index& index) const {
  Position position;
  position.address = geometry_.ElementAddress(index);
  position.elements = {position.address};
  position.row.x = {ElementOf(inputs_.predictions, position.address)};
  position.row.targets = {1};
  position.plain_targets = {1};
  Index place = index;
  place[geometry_.class_axis] = 0;
  const int64_t k = index[geometry_.class_axis];
  position.row.weights = {weights_.At(place)[k]};
  Element& e = position.row.element;
  const auto read = [&](const std::optional<TensorView>& tensor, Real& to) {
    if (tensor) to = ElementOf(*tensor, position.address);
  };
  e.x = position.row.x[0];
  if (inputs_.target_kind == TargetKind::kTargetValues) {
    e.t = ElementOf(inputs_.targets, position.address);
  }
  read(inputs_.second_predictions, e.second);
  read(inputs_.reference_log_probabilities, e.reference);
  read(inputs_.second_reference_log_probabilities, e.second_reference);
  read(inputs_.old_values, e.old_value);
  ReadToken(position);
  if (inputs_.pos_weight) {
    const bool one = inputs_.pos_weight->desc.shape[0] == 1;
    e.pos_weight = ElementOf(*inputs_.pos_weight, one ? 0 : k);
  }
  e.smoothing = spec_.label_smoothing;
  for (const int64_t ignored : spec_.ignore_labels) {
    if (e.t == static_cast<Real>(ignored)) position.ignored = true;
  }
  ReadPositionTensors(position);
  position.weightless = spec_.loss_weight * position.q == 0 || position.row.weights[0] == 0;
  return position;
}

// What belongs to a token of a policy.
void Computation::ReadToken(Position& position) const {
  Element& e = position.row.element;
  const auto read = [&](const std::optional<TensorView>& tensor, Real& to) {
    if (tensor) to = ElementOf(*tensor, position.address);
  };
  e.has_old = inputs_.old_log_probabilities.has_value();
  read(inputs_.advantages, e.advantage);
  read(inputs_.old_log_probabilities, e.old);
  read(inputs_.reference_log_probabilities, e.reference);
}

Position Computation::Read(const Index& index) const {
  Position position;
  position.address = geometry_.PositionAddress(index);
  Index element = index;
  for (int64_t& k = element[geometry_.class_axis]; k < geometry_.classes(); ++k) {
    position.elements.push_back(geometry_.ElementAddress(element));
    position.row.x.push_back(ElementOf(inputs_.predictions, position.elements.back()));
  }
  position.row.weights = weights_.At(index);
  for (int64_t k = 0; inputs_.class_bias && k < geometry_.classes(); ++k) {
    position.row.bias.push_back(ElementOf(*inputs_.class_bias, k));
  }
  for (int64_t i = 0; inputs_.ground_metric && i < geometry_.classes(); ++i) {
    for (int64_t j = 0; j < geometry_.classes(); ++j) {
      const bool row_major = inputs_.ground_metric->desc.layout == Layout::kRowMajor;
      const int64_t at = row_major ? i * geometry_.classes() + j : j * geometry_.classes() + i;
      position.row.metric.push_back(ElementOf(*inputs_.ground_metric, at));
    }
  }
  ReadTargets(position);
  ReadPositionTensors(position);
  ReadToken(position);
  const Row& row = position.row;
  position.weightless =
      spec_.loss_weight * position.q == 0 ||
      (row.one_hot() && row.weights[row.label] == 0 && !CountsWithoutWeight(spec_.loss));
  return position;
}

std::vector<int64_t> Computation::Slots(const Position& position) const {
  const TensorDesc& desc = inputs_.targets.desc;
  const int64_t slots = desc.shape.back();
  const int64_t positions = *ElementCount(desc.shape) / slots;
  std::vector<int64_t> addresses;
  for (int64_t j = 0; j < slots; ++j) {
    addresses.push_back(desc.layout == Layout::kRowMajor ? position.address * slots + j
                                                         : j * positions + position.address);
  }
  return addresses;
}

// Shares that add up where labels are equal; labels < 0 are none.
void Computation::ReadSparseTargets(Position& position) const {
  for (const int64_t at : Slots(position)) {
    const Real label = ElementOf(inputs_.targets, at);
    if (label < 0) continue;
    position.plain_targets[static_cast<size_t>(label)] +=
        ElementOf(*inputs_.sparse_probabilities, at);
  }
}

// Up to the first label < 0.
void Computation::ReadLabelList(Position& position) const {
  for (const int64_t at : Slots(position)) {
    const Real label = ElementOf(inputs_.targets, at);
    if (label < 0) return;
    position.row.labels.push_back(static_cast<size_t>(label));
  }
}

void Computation::ReadTargets(Position& position) const {
  Row& row = position.row;
  position.plain_targets.assign(row.x.size(), 0);
  const LossFacts& facts = FactsOf(spec_.loss);
  if (inputs_.sparse_probabilities) {
    ReadSparseTargets(position);
  } else if (facts.label_lists) {
    ReadLabelList(position);
  } else if (facts.targets_per == Per::kPosition) {
    row.target = ElementOf(inputs_.targets, position.address);
  } else if (inputs_.target_kind == TargetKind::kClassIndices) {
    const Real label = ElementOf(inputs_.targets, position.address);
    for (const int64_t ignored : spec_.ignore_labels) {
      if (label == static_cast<Real>(ignored)) position.ignored = true;
    }
    // An ignored label may be any number; class 0 stands in and nothing comes of it.
    row.label = position.ignored ? 0 : static_cast<int64_t>(label);
    position.plain_targets[row.label] = 1;
  } else if (inputs_.target_kind != TargetKind::kNone) {
    for (size_t k = 0; k < row.x.size(); ++k) {
      position.plain_targets[k] = ElementOf(inputs_.targets, position.elements[k]);
    }
  }
  position.weighs_itself = FactsOf(spec_.loss).family == Family::kRows && row.label < 0;
  if (inputs_.second_predictions) {
    for (const int64_t element : position.elements) {
      row.second.push_back(ElementOf(*inputs_.second_predictions, element));
    }
  }
  const Real smoothing = spec_.label_smoothing;
  row.smoothed = smoothing > 0;
  row.targets = position.plain_targets;
  if (!row.smoothed) return;
  for (Real& target : row.targets) {
    target = (smoothing == 1 ? 0 : (1 - smoothing) * target) + smoothing / row.classes();
  }
}

void Computation::Count(const Position& position) {
  ++answer_.position_count;
  if (position.ignored) {
    ++answer_.ignored_count;
    return;
  }
  ++answer_.valid_count;
  answer_.clamped_count += position.answer.clamped ? 1 : 0;
  answer_.nonfinite_count += position.answer.nonfinite ? 1 : 0;
  const Real term = position.q * position.weight();
  answer_.weight_sum.values[0] += term;
  // Roundings of w, of the product with q, and (probability targets) of the sum over the classes.
  const int roundings = weights_.roundings() + (position.row.label >= 0 ? 1 : 32);
  answer_.weight_sum.bounds[0] += roundings * kU64 * std::fabs(term);
}

void Computation::PositionLoss(const Position& position) {
  if (position.ignored || position.weightless) return;
  const Real scale = spec_.loss_weight * position.q;
  // Beyond f64 the row's loss is infinite before anything scales it.
  const Real rounded_row = RoundTo(DType::kF64, position.answer.loss);
  const Real value = scale * (std::isinf(rounded_row) ? rounded_row : position.answer.loss);
  // The row's own bound, the products L q w l in f64, and the rounding of the result, which matters
  // where it is denormal.
  const int roundings = weights_.roundings() + 3;
  const Real bound =
      scale * position.answer.loss_bound +
      (value == 0 ? 0 : roundings * kU64 * std::fabs(value) + HalfUlp(DType::kF64, value));
  answer_.position_losses.values[position.address] = value;
  answer_.position_losses.bounds[position.address] = bound;
  // A loss beyond f64 is an infinite term of the sum.
  const Real rounded = RoundTo(DType::kF64, value);
  answer_.loss_sum.values[0] += std::isinf(rounded) ? rounded : value;
  answer_.loss_sum.bounds[0] += bound;
}

void Computation::FindDenominator() {
  switch (spec_.reduction) {
    case Reduction::kPositions:
      denominator_ = answer_.position_count;
      break;
    case Reduction::kValid:
      denominator_ = answer_.valid_count;
      break;
    case Reduction::kWeightSum:
      denominator_ = answer_.weight_sum.values[0];
      denominator_bound_ = answer_.weight_sum.bounds[0];
      break;
    case Reduction::kBatch:
      denominator_ = geometry_.batch_extent();
      break;
    case Reduction::kGiven:
      denominator_ = *spec_.denominator;
      if (denominator_ == 0 && answer_.weight_sum.values[0] != 0) {
        answer_.refused = "denominator 0, but something counts";
      }
      break;
    case Reduction::kSum:
    case Reduction::kNone:
      break;
  }
  if (denominator_ == 0 && depends_on_data() &&
      spec_.all_ignored_policy == AllIgnoredPolicy::kError) {
    answer_.refused = "no position counts";
  }
  answer_.denominator = One(denominator_, denominator_bound_);
}

void Computation::FinishLoss() {
  if (denominator_ == 0) {
    const bool nan = depends_on_data() && spec_.all_ignored_policy == AllIgnoredPolicy::kNan;
    answer_.loss = One(nan ? kNan : 0, 0);
    return;
  }
  // The sum as it is answered: one beyond f64 stays infinite, whatever D is.
  const Real sum = answer_.loss_sum.values[0];
  const Real rounded = RoundTo(DType::kF64, sum);
  const Real loss = (std::isinf(rounded) ? rounded : sum) / denominator_;
  const Real relative = denominator_bound_ / denominator_ + kU64;
  answer_.loss = One(loss, answer_.loss_sum.bounds[0] / denominator_ + std::fabs(loss) * relative +
                               HalfUlp(DType::kF64, loss));
}

int Computation::CoefficientRoundings() const {
  return (spec_.loss_weight != 1 && inputs_.position_weights ? 1 : 0) +
         (denominator_ != 1 ? 1 : 0) + (inputs_.upstream_gradient ? 1 : 0) +
         (spec_.gradient_scale != 1 ? 1 : 0) +
         (inputs_.class_weights ? 1 + weights_.roundings() : 0);
}

void Computation::Gradient(const Position& position) {
  if (position.ignored || denominator_ == 0 || position.weightless) return;
  const Real own = spec_.gradient_scale * (spec_.loss_weight * position.q / denominator_);
  if (own == 0) return;  // whatever comes from upstream
  const Real coefficient = own * position.upstream;
  if (coefficient == 0) return;
  // With one class, an infinite one is infinite.
  const bool saturates = std::isfinite(coefficient) || !position.row.one_hot();
  const bool in_float = compute_type_ == DType::kF32;
  const Real size = std::fabs(coefficient);
  answer_.gradient_saturates |=
      saturates && (in_float ? size > 1e30L : size > 1e300L || size < 1e-300L);
  const DType own_dtype = inputs_.predictions.desc.dtype;
  for (size_t k = 0; k < position.elements.size(); ++k) {
    Entry({coefficient, position.answer.slope[k], position.answer.slope_bound[k]},
          position.elements[k], spec_.gradient_dtype.value_or(own_dtype), answer_.gradient);
  }
  if (!FactsOf(spec_.loss).second_gradient) return;
  for (size_t k = 0; k < position.elements.size(); ++k) {
    Entry({coefficient, position.answer.second_slope[k], position.answer.second_slope_bound[k]},
          position.elements[k],
          spec_.second_gradient_dtype.value_or(inputs_.second_predictions->desc.dtype),
          answer_.second_gradient);
  }
}

void Computation::Entry(const GradientEntry& entry, int64_t element, DType out, Bounded& to) {
  const auto& [coefficient, slope, slope_bound] = entry;
  // Which double, or of elements the compute type, cannot hold before it is scaled.
  const bool in_float =
      FactsOf(spec_.loss).family == Family::kElements && compute_type_ == DType::kF32;
  const Real most =
      in_float ? Real(std::numeric_limits<float>::max()) : Real(std::numeric_limits<double>::max());
  answer_.gradient_saturates |= std::isfinite(slope) && std::fabs(slope) > most;
  if (slope == 0 && slope_bound == 0) {  // exactly +0
    if (!std::isfinite(coefficient)) to.bounds[element] = kZeroOrNan;
    return;
  }
  const Real value = coefficient * slope;
  // The factor of s_k is beyond what is promised, be it by a temperature or a z-loss.
  answer_.gradient_saturates |= FactsOf(spec_.loss).family == Family::kSoftmax &&
                                std::fabs(value) > (compute_type_ == DType::kF32 ? 1e30L : 1e300L);
  to.values[element] = value;
  // |scale| times the row's bound; the f64 roundings of the scale itself (invisible in f32); the
  // smallest normal number of the compute type; half an ulp for the rounding to the output.
  const Real relative = CoefficientRoundings() * kU64 + denominator_bound_ / denominator_;
  to.bounds[element] = std::fabs(coefficient) * slope_bound + relative * std::fabs(value) +
                       SmallestNormal(compute_type_) + HalfUlp(out, value);
}

// What decides which class is the largest: temperature and soft cap keep the order, a bias does
// not.
std::vector<Real> Computation::Ordered(const Row& row) const {
  return row.bias.empty() ? row.x : ChangedLogits(spec_.loss, row);
}

void Computation::SideOutputs(const Position& position) {
  const RowAnswer& row = position.answer;
  const std::vector<Real> x = Ordered(position.row);
  int64_t wanted = -1;
  if (!position.ignored && !HasNan(position.plain_targets)) {
    wanted =
        position.row.label >= 0 ? position.row.label : LowestIndexOfMaximum(position.plain_targets);
  }
  if (wanted >= 0 && !HasNan(x)) {
    answer_.hits[position.address] = LowestIndexOfMaximum(x) == wanted ? 1 : 0;
    answer_.correct_count += answer_.hits[position.address];
    int rank = 0;
    for (int64_t k = 0; k < static_cast<int64_t>(x.size()); ++k) {
      if (x[k] > x[wanted] || (x[k] == x[wanted] && k < wanted)) ++rank;
    }
    answer_.ranks[position.address] = rank;
  }
  if (FactsOf(spec_.loss).family != Family::kSoftmax) return;
  answer_.log_sum_exp.values[position.address] = row.log_sum_exp;
  answer_.log_sum_exp.bounds[position.address] =
      row.log_sum_exp_bound + HalfUlp(DType::kF64, row.log_sum_exp);
  answer_.entropy.values[position.address] = row.entropy;
  answer_.entropy.bounds[position.address] = row.entropy_bound + HalfUlp(DType::kF64, row.entropy);
  Real& log_probability = answer_.label_log_probabilities.values[position.address];
  if (wanted >= 0) {
    log_probability = row.log_probabilities[wanted];
    answer_.label_log_probabilities.bounds[position.address] =
        row.log_probabilities_bound[wanted] + HalfUlp(DType::kF64, log_probability);
  } else if (!position.ignored) {
    log_probability = kNan;
  }
  const DType out = inputs_.predictions.desc.dtype;
  for (size_t k = 0; k < position.elements.size(); ++k) {
    const Real probability = row.probabilities[k];
    answer_.probabilities.values[position.elements[k]] = probability;
    answer_.probabilities.bounds[position.elements[k]] =
        row.probabilities_bound[k] + (probability == 0 ? 0 : HalfUlp(out, probability));
  }
}

}  // namespace

Answer Compute(const LossSpec& spec, const LossInputs& inputs) {
  return Computation(spec, inputs).Run();
}

}  // namespace lossd::oracle
