#ifndef LOSSD_TESTS_CORE_CASE_MAKER_H_
#define LOSSD_TESTS_CORE_CASE_MAKER_H_

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <variant>
#include <vector>

#include "tests/support/loss_case.h"
#include "tests/support/random.h"

namespace lossd::oracle {

// The losses with options that are right: those of one family or, of classes, pick and softmax.
// Policy losses of logits need more tensors, and are not among them.
inline std::vector<Loss> LossesOf(std::initializer_list<Family> families) {
  std::vector<Loss> losses;
  for (Loss loss : kDefaultLosses) {
    if (auto* const policy = std::get_if<PolicyLoss>(&loss)) {
      policy->objective = PpoObjective();
      policy->input = PolicyInput::kLogProbabilities;
    }
    if (auto* const wasserstein = std::get_if<WassersteinLoss>(&loss)) wasserstein->lambda = 1;
    const Family family = FactsOf(loss).family;
    if (std::find(families.begin(), families.end(), family) != families.end()) {
      losses.push_back(loss);
    }
  }
  return losses;
}
inline const std::vector<Loss> kLosses = LossesOf({Family::kPick, Family::kSoftmax});
inline const std::vector<Loss> kElementLosses = LossesOf({Family::kElements});
inline const std::vector<Loss> kRowLosses = LossesOf({Family::kRows});

// Several quantiles; MakeCase draws one for each class.
inline QuantileLoss SeveralQuantilesLoss() { return {.quantiles = {0.1, 0.9}}; }

// A policy loss of logits.
inline PolicyLoss PolicyOfLogits() {
  PolicyLoss policy;
  policy.objective = PpoObjective();
  return policy;
}

inline constexpr DType kFloatDTypes[] = {DType::kF32, DType::kF64, DType::kF16, DType::kBF16};

enum class WeightsForm { kNone, kPerClass, kOneSample, kFull };

// What the cross product of oracle_test varies; the rest of a case is drawn at random.
struct Factors {
  Loss loss;
  DType dtype = DType::kF32;
  Layout layout = Layout::kRowMajor;
  int rank = 2;
  int axis = 1;
  WeightsForm weights = WeightsForm::kNone;
  WeightNormalization normalization = WeightNormalization::kLocal;  // where there are weights
  Reduction reduction = Reduction::kPositions;
  TargetKind target_kind = TargetKind::kClassIndices;
  DType label_dtype = DType::kI64;
  bool margin = true;               // whether a softmax loss may have one
  std::vector<int64_t> shape = {};  // of `rank` extents; empty: a small one is drawn

  int batch_axis() const { return layout == Layout::kRowMajor ? 0 : rank - 1; }
  // Whether such a request exists: see the notes on class weights and BATCH in docs/semantics.md.
  bool valid() const;
};

// A small valid request with these factors. Every other option takes each of its kinds of value now
// and then: smoothing, ignored labels, position weights, upstream gradient, scales, dtypes, clamps,
// policies, the two shapes of labels, the three ways to name an axis.
LossCase MakeCase(const Factors& factors, Random& random);

// The shape of the labels, with the class axis 1 or removed.
std::vector<int64_t> LabelShape(std::vector<int64_t> shape, int axis, bool removed);

// Predictions such as the loss expects: logits, probabilities or log-probabilities.
Real TypicalPrediction(const Loss& loss, Random& random);

// Target values that a loss over elements takes, for predictions that are there; and of further
// tensors those that it needs, now and then also those that it may have.
void AddElementTensors(DType target_dtype, Random& random, LossCase& c);

// A case of `rows` x `classes` (row-major, index targets) with typical
// predictions and all outputs.
LossCase PlainCase(const Loss& loss, DType dtype, int64_t rows, int64_t classes, Random& random);

// The same with row-major predictions of any shape, class axis 1, and any kind of target.
LossCase TypicalCase(const Loss& loss, DType dtype, const std::vector<int64_t>& shape,
                     TargetKind kind, Random& random);

// For each kernel family (classes next to each other in memory, and apart) a shape large enough for
// whole vectors and a tail.
std::vector<std::vector<int64_t>> BothKernelShapes();

// A tensor in the shape of the case's labels (class axis 1) with values between low and high.
OwnedTensor PerPosition(const LossCase& c, DType dtype, Real low, Real high, Random& random);

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_CORE_CASE_MAKER_H_
