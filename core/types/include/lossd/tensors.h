#ifndef LOSSD_TENSORS_H_
#define LOSSD_TENSORS_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "lossd/tensor.h"

// The tensors of a request, one row each. A new tensor is a field in loss.proto, a member and a row
// here; codec, checks, sizes, buffers and client loop over the rows.

namespace lossd {

// A tensor; the number is its field in lossd.v1.ComputeRequest.
enum class Role : int8_t {
  kClassIndices = 2,
  kClassProbabilities = 3,
  kClassWeights = 4,
  kPositionWeights = 5,
  kUpstreamGradient = 6,
  kPredictions = 7,
  kTargetValues = 8,
  kSecondPredictions = 10,
  kPosWeight = 11,
  kClassBias = 12,
  kAdvantages = 13,
  kOldLogProbabilities = 14,
  kReferenceLogProbabilities = 15,
  kSecondReferenceLogProbabilities = 16,
  kOldValues = 17,
  kSequenceLengths = 18,
  kLabelLengths = 19,
  kInputLengths = 20,
  kSparseProbabilities = 21,
  kGroundMetric = 23,
};

// What a tensor has one element for.
enum class Per : int8_t {
  kElement,     // shape of the predictions
  kPosition,    // shape of the labels; in a loss over elements, of the predictions
  kClass,       // or for a class of each position, of one sample or of all
  kClassOrOne,  // a class, or one for all
  kSequence,    // a sequence: a number of tokens or frames
  kSlot,        // each of the K labels of a position: shape of the class indices
  kClassPair,   // a class of the predictions and one of the targets
};

enum class TargetKind : int8_t {
  kClassIndices,        // shape of the predictions with the class axis 1 or removed
  kClassProbabilities,  // shape of the predictions
  kTargetValues,        // shape of the predictions; in some losses, of labels
  kNone,                // the loss takes none
};

// A tensor that is sent whole before the first block; the number is its SideData.kind. Tensors are
// sent in the order of the numbers.
enum class SideKind : int8_t {
  kClassWeights = 1,
  kPositionWeights = 2,
  kUpstreamGradient = 3,
  kTargets = 4,
  kPosWeight = 11,
  kClassBias = 12,
  kAdvantages = 13,
  kOldLogProbabilities = 14,
  kReferenceLogProbabilities = 15,
  kSecondReferenceLogProbabilities = 16,
  kOldValues = 17,
  kSequenceLengths = 18,
  kLabelLengths = 19,
  kInputLengths = 20,
  kSparseProbabilities = 21,
  kGroundMetric = 23,
};
inline constexpr SideKind kSideKinds[] = {SideKind::kClassWeights,
                                          SideKind::kPositionWeights,
                                          SideKind::kUpstreamGradient,
                                          SideKind::kTargets,
                                          SideKind::kPosWeight,
                                          SideKind::kClassBias,
                                          SideKind::kAdvantages,
                                          SideKind::kOldLogProbabilities,
                                          SideKind::kReferenceLogProbabilities,
                                          SideKind::kSecondReferenceLogProbabilities,
                                          SideKind::kOldValues,
                                          SideKind::kSequenceLengths,
                                          SideKind::kLabelLengths,
                                          SideKind::kInputLengths,
                                          SideKind::kSparseProbabilities,
                                          SideKind::kGroundMetric};

// The tensors of one request, by type T (a description, a view).
template <class T>
struct LossTensors {
  T predictions = {};
  TargetKind target_kind = TargetKind::kClassIndices;
  T targets = {};
  std::optional<T> class_weights = {};
  std::optional<T> position_weights = {};
  std::optional<T> upstream_gradient = {};
  std::optional<T> second_predictions = {};
  std::optional<T> pos_weight = {};
  std::optional<T> class_bias = {};
  std::optional<T> advantages = {};
  std::optional<T> old_log_probabilities = {};
  std::optional<T> reference_log_probabilities = {};
  std::optional<T> second_reference_log_probabilities = {};
  std::optional<T> old_values = {};
  std::optional<T> sequence_lengths = {};
  std::optional<T> label_lengths = {};
  std::optional<T> input_lengths = {};
  std::optional<T> sparse_probabilities = {};
  std::optional<T> ground_metric = {};
};
using LossTensorDescs = LossTensors<TensorDesc>;
using LossInputs = LossTensors<TensorView>;

// Of these tensors, those that are known whole before the first block, by type T (bytes, a buffer).
template <class T>
struct SideTensors {
  T targets = {};
  T class_weights = {};
  T position_weights = {};
  T upstream_gradient = {};
  T pos_weight = {};
  T class_bias = {};
  T advantages = {};
  T old_log_probabilities = {};
  T reference_log_probabilities = {};
  T second_reference_log_probabilities = {};
  T old_values = {};
  T sequence_lengths = {};
  T label_lengths = {};
  T input_lengths = {};
  T sparse_probabilities = {};
  T ground_metric = {};
};

// And what a block has of those that travel in blocks (bytes, a size).
template <class T>
struct BlockTensors {
  T predictions = {};
  T class_probabilities = {};
  T target_values = {};
  T second_predictions = {};

  friend bool operator==(const BlockTensors&, const BlockTensors&) = default;
};

// What is to be known of a tensor, whatever T is.
struct TensorFacts {
  Role role;
  std::string_view name;  // of its field in ComputeRequest
  Per per;
  bool floating;                          // false: any dtype
  std::optional<TargetKind> target_kind;  // set: one of the targets, of which a request has one
  std::optional<SideKind> side_kind;      // set: may be sent whole before the blocks
  int block_field;                        // not 0: may travel in blocks, as this field

  constexpr int number() const { return static_cast<int>(role); }
  // Of its member in LossTensors.
  constexpr std::string_view member_name() const { return target_kind ? "targets" : name; }
};

template <class T>
struct TensorRow : TensorFacts {
  // Its member: one of the two.
  T LossTensors<T>::*always;
  std::optional<T> LossTensors<T>::*sometimes;

  T SideTensors<T>::*whole;      // nullptr without a side_kind
  T BlockTensors<T>::*in_block;  // nullptr without a block_field
};

// The row of a constant to the gradient that may be left out, and is sent whole before the blocks.
template <class T>
constexpr TensorRow<T> WholeConstant(Role role, std::string_view name, Per per, SideKind side_kind,
                                     std::optional<T> LossTensors<T>::*sometimes,
                                     T SideTensors<T>::*whole) {
  return {{role, name, per, /*floating=*/true, std::nullopt, side_kind, 0},
          nullptr,
          sometimes,
          whole,
          nullptr};
}

// The same of lengths of sequences, which are whole numbers.
template <class T>
constexpr TensorRow<T> WholeLengths(Role role, std::string_view name, SideKind side_kind,
                                    std::optional<T> LossTensors<T>::*sometimes,
                                    T SideTensors<T>::*whole) {
  TensorRow<T> row = WholeConstant(role, name, Per::kSequence, side_kind, sometimes, whole);
  row.floating = false;
  return row;
}

// In the order of the fields.
template <class T>
inline constexpr TensorRow<T> kTensorRows[] = {
    {{Role::kClassIndices, "class_indices", Per::kPosition, /*floating=*/false,
      TargetKind::kClassIndices, SideKind::kTargets, 0},
     &LossTensors<T>::targets,
     nullptr,
     &SideTensors<T>::targets,
     nullptr},
    {{Role::kClassProbabilities, "class_probabilities", Per::kElement, /*floating=*/true,
      TargetKind::kClassProbabilities, SideKind::kTargets, 2},
     &LossTensors<T>::targets,
     nullptr,
     &SideTensors<T>::targets,
     &BlockTensors<T>::class_probabilities},
    WholeConstant(Role::kClassWeights, "class_weights", Per::kClass, SideKind::kClassWeights,
                  &LossTensors<T>::class_weights, &SideTensors<T>::class_weights),
    WholeConstant(Role::kPositionWeights, "position_weights", Per::kPosition,
                  SideKind::kPositionWeights, &LossTensors<T>::position_weights,
                  &SideTensors<T>::position_weights),
    WholeConstant(Role::kUpstreamGradient, "upstream_gradient", Per::kPosition,
                  SideKind::kUpstreamGradient, &LossTensors<T>::upstream_gradient,
                  &SideTensors<T>::upstream_gradient),
    {{Role::kPredictions, "predictions", Per::kElement, /*floating=*/true, std::nullopt,
      std::nullopt, 3},
     &LossTensors<T>::predictions,
     nullptr,
     nullptr,
     &BlockTensors<T>::predictions},
    {{Role::kTargetValues, "target_values", Per::kElement, /*floating=*/false,
      TargetKind::kTargetValues, SideKind::kTargets, 8},
     &LossTensors<T>::targets,
     nullptr,
     &SideTensors<T>::targets,
     &BlockTensors<T>::target_values},
    {{Role::kSecondPredictions, "second_predictions", Per::kElement, /*floating=*/true,
      std::nullopt, std::nullopt, 10},
     nullptr,
     &LossTensors<T>::second_predictions,
     nullptr,
     &BlockTensors<T>::second_predictions},
    WholeConstant(Role::kPosWeight, "pos_weight", Per::kClassOrOne, SideKind::kPosWeight,
                  &LossTensors<T>::pos_weight, &SideTensors<T>::pos_weight),
    WholeConstant(Role::kClassBias, "class_bias", Per::kClass, SideKind::kClassBias,
                  &LossTensors<T>::class_bias, &SideTensors<T>::class_bias),
    WholeConstant(Role::kAdvantages, "advantages", Per::kPosition, SideKind::kAdvantages,
                  &LossTensors<T>::advantages, &SideTensors<T>::advantages),
    WholeConstant(Role::kOldLogProbabilities, "old_log_probabilities", Per::kPosition,
                  SideKind::kOldLogProbabilities, &LossTensors<T>::old_log_probabilities,
                  &SideTensors<T>::old_log_probabilities),
    WholeConstant(Role::kReferenceLogProbabilities, "reference_log_probabilities", Per::kPosition,
                  SideKind::kReferenceLogProbabilities,
                  &LossTensors<T>::reference_log_probabilities,
                  &SideTensors<T>::reference_log_probabilities),
    WholeConstant(Role::kSecondReferenceLogProbabilities, "second_reference_log_probabilities",
                  Per::kPosition, SideKind::kSecondReferenceLogProbabilities,
                  &LossTensors<T>::second_reference_log_probabilities,
                  &SideTensors<T>::second_reference_log_probabilities),
    WholeConstant(Role::kOldValues, "old_values", Per::kPosition, SideKind::kOldValues,
                  &LossTensors<T>::old_values, &SideTensors<T>::old_values),
    WholeLengths(Role::kSequenceLengths, "sequence_lengths", SideKind::kSequenceLengths,
                 &LossTensors<T>::sequence_lengths, &SideTensors<T>::sequence_lengths),
    WholeLengths(Role::kLabelLengths, "label_lengths", SideKind::kLabelLengths,
                 &LossTensors<T>::label_lengths, &SideTensors<T>::label_lengths),
    WholeLengths(Role::kInputLengths, "input_lengths", SideKind::kInputLengths,
                 &LossTensors<T>::input_lengths, &SideTensors<T>::input_lengths),
    WholeConstant(Role::kSparseProbabilities, "sparse_probabilities", Per::kSlot,
                  SideKind::kSparseProbabilities, &LossTensors<T>::sparse_probabilities,
                  &SideTensors<T>::sparse_probabilities),
    WholeConstant(Role::kGroundMetric, "ground_metric", Per::kClassPair, SideKind::kGroundMetric,
                  &LossTensors<T>::ground_metric, &SideTensors<T>::ground_metric),
};
inline constexpr size_t kTensorCount = std::size(kTensorRows<TensorDesc>);

constexpr const TensorFacts& FactsOf(Role role) {
  const TensorFacts* facts = nullptr;
  for (const TensorFacts& row : kTensorRows<TensorDesc>) {
    if (row.role == role) facts = &row;
  }
  return *facts;  // every role has a row
}

// The tensor of a row; nullptr where `tensors` has none.
template <class T>
constexpr const T* TensorOf(const LossTensors<T>& tensors, const TensorRow<T>& row) {
  if (row.target_kind && *row.target_kind != tensors.target_kind) return nullptr;
  if (row.always != nullptr) return &(tensors.*row.always);
  const std::optional<T>& tensor = tensors.*row.sometimes;
  return tensor ? &*tensor : nullptr;
}

template <class T>
constexpr T* TensorOf(LossTensors<T>& tensors, const TensorRow<T>& row) {
  return const_cast<T*>(TensorOf(std::as_const(tensors), row));
}

template <class T>
constexpr bool HasTensor(const LossTensors<T>& tensors, Role role) {
  for (const TensorRow<T>& row : kTensorRows<T>) {
    if (row.role == role) return TensorOf(tensors, row) != nullptr;
  }
  return false;
}

// Gives `tensors` the tensor of a row, and returns where it is to be put.
template <class T>
constexpr T& AddTensor(const TensorRow<T>& row, LossTensors<T>& tensors) {
  if (row.target_kind) tensors.target_kind = *row.target_kind;
  return row.always != nullptr ? tensors.*row.always : (tensors.*row.sometimes).emplace();
}

// The member of a side tensor.
template <class T>
constexpr T& SideTensor(SideKind kind, SideTensors<T>& tensors) {
  for (const TensorRow<T>& row : kTensorRows<T>) {
    if (row.side_kind == kind) return tensors.*row.whole;
  }
  return tensors.targets;  // not reached: every kind has a row
}

// Calls visit(row, tensor) for each tensor there is, in the order of the rows.
template <class T, class Visit>
constexpr void ForEachTensor(const LossTensors<T>& tensors, Visit visit) {
  for (const TensorRow<T>& row : kTensorRows<T>) {
    if (const T* tensor = TensorOf(tensors, row)) visit(row, *tensor);
  }
}

// The first error that check(row, tensor) finds, in the order of the rows.
template <class T, class Check>
absl::Status CheckTensors(const LossTensors<T>& tensors, Check check) {
  for (const TensorRow<T>& row : kTensorRows<T>) {
    const T* const tensor = TensorOf(tensors, row);
    if (tensor == nullptr) continue;
    if (absl::Status status = check(row, *tensor); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// Calls visit(row, tensor) for each tensor that may be sent whole before the blocks, in the order
// in which they are sent. The targets are among them, also where they travel in blocks.
template <class T, class Visit>
constexpr void ForEachSideTensor(const LossTensors<T>& tensors, Visit visit) {
  for (const SideKind kind : kSideKinds) {
    ForEachTensor(tensors, [&](const TensorRow<T>& row, const T& tensor) {
      if (row.side_kind == kind) visit(row, tensor);
    });
  }
}

// The same tensors, each as map(row, tensor).
template <class To, class From, class Map>
LossTensors<To> MapTensors(const LossTensors<From>& from, Map map) {
  LossTensors<To> to;
  to.target_kind = from.target_kind;
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorRow<From>& row = kTensorRows<From>[i];
    if (const From* tensor = TensorOf(from, row)) {
      AddTensor(kTensorRows<To>[i], to) = map(row, *tensor);
    }
  }
  return to;
}

// What views, or other tensors with a member `desc`, describe.
template <class T>
LossTensorDescs DescsOf(const LossTensors<T>& tensors) {
  return MapTensors<TensorDesc>(
      tensors,
      [](const TensorFacts&, const T& tensor) -> const TensorDesc& { return tensor.desc; });
}

}  // namespace lossd

#endif  // LOSSD_TENSORS_H_
