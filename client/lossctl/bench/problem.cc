#include "client/lossctl/bench/problem.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

// A floating type in bits, sign aside.
struct Format {
  int exponent_bits;
  int mantissa_bits;
};

Format FormatOf(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return {11, 52};
    case DType::kF16:
      return {5, 10};
    case DType::kBF16:
      return {8, 7};
    default:
      return {8, 23};
  }
}

// Which numbers a loss takes: magnitudes in [2^low, 2^high), of which sign.
struct Magnitudes {
  int low;
  int high;
  bool positive;
  bool negative;
};

Magnitudes MagnitudesOf(Domain predictions) {
  switch (predictions) {
    case Domain::kLogits:
      return {-4, 3, true, true};
    case Domain::kProbabilities:
      return {-6, 0, true, false};
    case Domain::kLogProbabilities:
      return {-4, 3, false, true};
    case Domain::kNumbers:
      return {-4, 3, true, true};
  }
  return {};
}

// Fills memory with such numbers, composed of bits, so that no type needs a conversion.
void Fill(const Magnitudes& domain, DType dtype, std::mt19937_64& random,
          std::vector<std::byte>& memory) {
  const Format format = FormatOf(dtype);
  const size_t size = SizeOf(dtype);
  const int64_t bias = (int64_t{1} << (format.exponent_bits - 1)) - 1;
  for (size_t at = 0; at < memory.size(); at += size) {
    uint64_t bits = random();
    const bool negative = domain.negative && (!domain.positive || (bits & 1) != 0);
    bits >>= 1;
    const uint64_t exponent =
        bias + domain.low + static_cast<int64_t>((bits & 0xff) % (domain.high - domain.low));
    const uint64_t mantissa = (bits >> 8) & ((uint64_t{1} << format.mantissa_bits) - 1);
    const uint64_t value = (uint64_t{negative} << (format.exponent_bits + format.mantissa_bits)) |
                           (exponent << format.mantissa_bits) | mantissa;
    std::memcpy(memory.data() + at, &value, size);  // little-endian, as all of lossd
  }
}

bool SameBits(double a, double b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

bool SameAnswer(const LossResult& a, const LossResult& b) {
  return SameBits(a.loss, b.loss) && SameBits(a.loss_sum, b.loss_sum) &&
         SameBits(a.weight_sum, b.weight_sum) && SameBits(a.denominator, b.denominator) &&
         a.exact == b.exact;
}

}  // namespace

Problem::Problem(const ProblemShape& shape)
    : elements_(*ElementCount(shape.shape)), inputs_(shape.inputs) {
  spec_.loss = shape.loss;
  if (auto* const ctc = std::get_if<CtcLoss>(&spec_.loss)) {
    ctc->time_axis = 1;  // [N, T, C]
    spec_.class_axis = 2;
  }
  if (auto* const wasserstein = std::get_if<WassersteinLoss>(&spec_.loss)) {
    wasserstein->lambda = wasserstein->lambda.value_or(1);
  }
  std::mt19937_64 random(shape.seed);
  for (Input& input : inputs_) {
    input.predictions.resize(elements_ * SizeOf(shape.dtype));
    Fill(MagnitudesOf(FactsOf(shape.loss).predictions), shape.dtype, random, input.predictions);
    input.views.predictions = {{shape.dtype, shape.shape}, input.predictions};
    AddTargets(shape, random, input);
    AddOthers(shape, random, input);
    input.gradient.resize(input.predictions.size());
  }
}

void Problem::AddTargets(const ProblemShape& shape, std::mt19937_64& random, Input& input) {
  input.views.target_kind = TargetKind::kNone;
  if (!TakesTargets(FactsOf(shape.loss))) return;
  if (std::holds_alternative<CtcLoss>(shape.loss)) return AddLabelSequences(shape, random, input);
  const LossFacts& facts = FactsOf(shape.loss);
  if (!Takes(facts, Role::kTargetValues) && !Takes(facts, Role::kClassIndices)) {
    return AddProbabilities(shape, random, input);
  }
  const bool values = Takes(facts, Role::kTargetValues);
  input.views.target_kind = values ? TargetKind::kTargetValues : TargetKind::kClassIndices;
  std::vector<int64_t> label_shape = shape.shape;
  if (!values || facts.targets_per == Per::kPosition) label_shape.erase(label_shape.begin() + 1);
  if (facts.label_lists) label_shape.push_back(1);
  const auto classes = static_cast<uint64_t>(shape.shape[1]);
  input.labels.resize(*ElementCount(label_shape));
  for (int64_t& label : input.labels) {
    switch (TargetsOf(shape.loss)) {
      case TargetRange::kAny:
        label = static_cast<int64_t>(random() % classes);
        break;
      case TargetRange::kZeroOne:
        label = static_cast<int64_t>(random() % 2);
        break;
      case TargetRange::kSigned:
        label = static_cast<int64_t>(random() % 2) * 2 - 1;
        break;
    }
  }
  input.views.targets = TensorView::Of<int64_t>(input.labels, label_shape);
}

void Problem::AddProbabilities(const ProblemShape& shape, std::mt19937_64& random, Input& input) {
  input.views.target_kind = TargetKind::kClassProbabilities;
  input.others.emplace_back(elements_ * SizeOf(shape.dtype));
  Fill(MagnitudesOf(Domain::kProbabilities), shape.dtype, random, input.others.back());
  input.views.targets = {{shape.dtype, shape.shape}, input.others.back()};
}

// Labels of which an eighth of the frames can spell any.
void Problem::AddLabelSequences(const ProblemShape& shape, std::mt19937_64& random, Input& input) {
  const int64_t sequences = shape.shape[0];
  const int64_t length = shape.shape[1] / 8;
  const auto classes = static_cast<uint64_t>(shape.shape[2]);
  input.views.target_kind = TargetKind::kClassIndices;
  input.labels.resize(sequences * length);
  for (int64_t& label : input.labels) {
    label = classes < 2 ? 0 : 1 + static_cast<int64_t>(random() % (classes - 1));
  }
  input.views.targets = TensorView::Of<int64_t>(input.labels, {sequences, length});
  input.lengths.assign(sequences, length);
  input.views.label_lengths = TensorView::Of<int64_t>(input.lengths, {sequences});
}

// What else the loss needs has an element for each one of the predictions; 1 and more, so that it
// may be a variance.
void Problem::AddOthers(const ProblemShape& shape, std::mt19937_64& random, Input& input) {
  for (const TensorRule& rule : FactsOf(shape.loss).tensors) {
    for (const TensorRow<TensorView>& row : kTensorRows<TensorView>) {
      const bool needed = row.role == rule.role && rule.presence == Presence::kRequired;
      if (!needed || row.per == Per::kSequence || row.sometimes == nullptr) continue;
      std::vector<int64_t> other = shape.shape;
      if (row.per == Per::kClassPair) other.assign(2, shape.shape[1]);
      input.others.emplace_back(*ElementCount(other) * SizeOf(shape.dtype));
      Fill({0, 3, true, false}, shape.dtype, random, input.others.back());
      input.views.*row.sometimes = {{shape.dtype, other}, input.others.back()};
    }
  }
}

int64_t Problem::sent_bytes() const {
  const Input& input = inputs_.front();
  size_t bytes = input.predictions.size() + input.labels.size() * sizeof(int64_t);
  for (const std::vector<std::byte>& other : input.others) bytes += other.size();
  return static_cast<int64_t>(bytes);
}

int64_t Problem::received_bytes() const {
  return static_cast<int64_t>(inputs_.front().gradient.size());
}

absl::Status Problem::Learn(Client& client, const CallOptions& options) {
  for (Input& input : inputs_) {
    LOSSD_ASSIGN_OR_RETURN(
        input.answer,
        client.Compute(spec_, input.views, {.gradient = absl::MakeSpan(input.gradient)}, options));
  }
  return absl::OkStatus();
}

Verdict Problem::Ask(Client& client, const CallOptions& options, int64_t index,
                     std::vector<std::byte>& gradient) const {
  const Input& input = inputs_[index % static_cast<int64_t>(inputs_.size())];
  // What is not written must not pass for the answer of the call before.
  std::fill(gradient.begin(), gradient.end(), std::byte{0});
  const absl::StatusOr<LossResult> answer =
      client.Compute(spec_, input.views, {.gradient = absl::MakeSpan(gradient)}, options);
  if (!answer.ok()) return {answer.status()};
  const bool same = SameAnswer(*answer, input.answer) && gradient == input.gradient;
  return {absl::OkStatus(), !same};
}

}  // namespace lossd::lossctl
