#ifndef LOSSD_TENSORS_H_
#define LOSSD_TENSORS_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <type_traits>

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
};

// What a tensor has one element for.
enum class Per : int8_t {
  kElement,   // shape of the predictions
  kPosition,  // shape of the labels
  kClass,     // or for a class of each position, of one sample or of all
};

enum class TargetKind : int8_t {
  kClassIndices,        // shape of the predictions with the class axis 1 or removed
  kClassProbabilities,  // shape of the predictions
};

// A tensor that is sent whole before the first block; the number is its SideData.kind. Tensors are
// sent in the order of the numbers.
enum class SideKind : int8_t {
  kClassWeights = 1,
  kPositionWeights = 2,
  kUpstreamGradient = 3,
  kTargets = 4,
};
inline constexpr int kSideKinds = 4;

// A tensor that a request may lack. Bytes say so by being empty.
template <class T>
using Maybe = std::conditional_t<std::is_same_v<T, ByteSpan>, ByteSpan, std::optional<T>>;

// The tensors of one request, by type T (a description, a view, bytes).
template <class T>
struct LossTensors {
  T predictions = {};
  TargetKind target_kind = TargetKind::kClassIndices;
  T targets = {};
  Maybe<T> class_weights = {};
  Maybe<T> position_weights = {};
  Maybe<T> upstream_gradient = {};
};
using LossTensorDescs = LossTensors<TensorDesc>;
using LossInputs = LossTensors<TensorView>;

// What a block of a stream carries of the tensors that travel in blocks.
template <class T>
struct BlockTensors {
  T class_probabilities = {};
  T predictions = {};
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
  Maybe<T> LossTensors<T>::*sometimes;
  T BlockTensors<T>::*in_block;  // nullptr without a block_field
};

// In the order of the fields.
template <class T>
inline constexpr TensorRow<T> kTensorRows[] = {
    {{Role::kClassIndices, "class_indices", Per::kPosition, /*floating=*/false,
      TargetKind::kClassIndices, SideKind::kTargets, 0},
     &LossTensors<T>::targets,
     nullptr,
     nullptr},
    {{Role::kClassProbabilities, "class_probabilities", Per::kElement, /*floating=*/true,
      TargetKind::kClassProbabilities, SideKind::kTargets, 2},
     &LossTensors<T>::targets,
     nullptr,
     &BlockTensors<T>::class_probabilities},
    {{Role::kClassWeights, "class_weights", Per::kClass,
      /*floating=*/true, std::nullopt, SideKind::kClassWeights, 0},
     nullptr,
     &LossTensors<T>::class_weights,
     nullptr},
    {{Role::kPositionWeights, "position_weights", Per::kPosition,
      /*floating=*/true, std::nullopt, SideKind::kPositionWeights, 0},
     nullptr,
     &LossTensors<T>::position_weights,
     nullptr},
    {{Role::kUpstreamGradient, "upstream_gradient", Per::kPosition,
      /*floating=*/true, std::nullopt, SideKind::kUpstreamGradient, 0},
     nullptr,
     &LossTensors<T>::upstream_gradient,
     nullptr},
    {{Role::kPredictions, "predictions", Per::kElement, /*floating=*/true, std::nullopt,
      std::nullopt, 3},
     &LossTensors<T>::predictions,
     nullptr,
     &BlockTensors<T>::predictions},
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
  const Maybe<T>& tensor = tensors.*row.sometimes;
  if constexpr (std::is_same_v<Maybe<T>, T>) {
    return tensor.empty() ? nullptr : &tensor;
  } else {
    return tensor ? &*tensor : nullptr;
  }
}

// Gives `tensors` the tensor of a row, and returns where it is to be put.
template <class T>
constexpr T& AddTensor(const TensorRow<T>& row, LossTensors<T>& tensors) {
  if (row.target_kind) tensors.target_kind = *row.target_kind;
  if (row.always != nullptr) return tensors.*row.always;
  Maybe<T>& tensor = tensors.*row.sometimes;
  if constexpr (std::is_same_v<Maybe<T>, T>) {
    return tensor;
  } else {
    return tensor.emplace();
  }
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

// The same tensors, each as map(row, tensor).
template <class To, class From, class Map>
LossTensors<To> MapTensors(const LossTensors<From>& from, Map map) {
  LossTensors<To> to;
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
