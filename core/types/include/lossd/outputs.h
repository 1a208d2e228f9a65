#ifndef LOSSD_OUTPUTS_H_
#define LOSSD_OUTPUTS_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"
#include "lossd/dtype.h"
#include "lossd/losses.h"
#include "lossd/tensor.h"
#include "lossd/tensors.h"

// What is computed beside the loss and the counts, one row each. A new output is a field in three
// messages of loss.proto, a member and a row here; codec, sizes, buffers and client loop over the
// rows.

namespace lossd {

// The outputs, by type T (whether it is wanted, memory, bytes).
template <class T>
struct Outputs {
  // Of an OutputSet: unless it says otherwise, the gradient is wanted.
  static constexpr T GradientDefault() {
    if constexpr (std::is_same_v<T, bool>) return true;
    return T();
  }

  T gradient = GradientDefault();  // shape of the predictions, gradient dtype
  T position_losses = {};          // f64, shape of the labels: L * q_i * l_i, before D
  T log_sum_exp = {};              // f64, shape of the labels; softmax loss only
  T argmax_hits = {};              // u8, shape of the labels
  T probabilities = {};            // shape and dtype of the predictions; softmax loss only

  friend bool operator==(const Outputs&, const Outputs&) = default;
};

// Which outputs are wanted. With Reduction::kNone, position_losses always is.
using OutputSet = Outputs<bool>;

// Where outputs go: contiguous, in the element order of the predictions, exactly as large as the
// output; empty for an output that is not wanted. `gradient` may be the very memory of the
// predictions (in place); any other overlap may not occur.
using LossOutputs = Outputs<MutableByteSpan>;

// What is to be known of an output, whatever T is.
struct OutputFacts {
  std::string_view name;       // of its field in every message
  Per per;                     // kElement or kPosition
  std::optional<DType> dtype;  // nullopt: that of the predictions or, of a gradient, its own
  bool is_gradient;
  std::optional<Family> family;  // set: only losses of this family have it
  int outputs_field;             // in lossd.v1.Outputs
  int response_field;            // in ComputeResponse
  int block_field;               // in BlockResult
  bool of_classes = false;       // losses over elements do not have it

  constexpr bool IsOf(Family loss) const {
    return family.value_or(loss) == loss && !(of_classes && loss == Family::kElements);
  }

  constexpr DType DTypeFor(DType predictions, DType gradient) const {
    return dtype ? *dtype : is_gradient ? gradient : predictions;
  }
};

template <class T>
struct OutputRow : OutputFacts {
  T Outputs<T>::*member;
};

// In the order of the fields of lossd.v1.Outputs.
template <class T>
inline constexpr std::array<OutputRow<T>, 5> kOutputRows = {{
    {{"gradient", Per::kElement, {}, /*is_gradient=*/true, {}, 1, 6, 7}, &Outputs<T>::gradient},
    {{"position_losses", Per::kPosition, DType::kF64, false, {}, 2, 2, 3},
     &Outputs<T>::position_losses},
    {{"log_sum_exp", Per::kPosition, DType::kF64, false, Family::kSoftmax, 3, 3, 4},
     &Outputs<T>::log_sum_exp},
    {{"argmax_hits", Per::kPosition, DType::kU8, false, {}, 4, 4, 5, true},
     &Outputs<T>::argmax_hits},
    {{"probabilities", Per::kElement, {}, false, Family::kSoftmax, 5, 5, 6},
     &Outputs<T>::probabilities},
}};
inline constexpr size_t kOutputCount = kOutputRows<bool>.size();

// The rows in the order in which an answer has its fields: the same in a response and in a block.
template <class T>
constexpr std::array<OutputRow<T>, kOutputCount> OrderOfAnswers() {
  std::array<OutputRow<T>, kOutputCount> rows = kOutputRows<T>;
  std::sort(rows.begin(), rows.end(), [](const OutputFacts& a, const OutputFacts& b) {
    return a.response_field < b.response_field;
  });
  return rows;
}
template <class T>
inline constexpr std::array<OutputRow<T>, kOutputCount> kAnswerRows = OrderOfAnswers<T>();

// The same outputs, each as map(row, output).
template <class To, class From, class Map>
constexpr Outputs<To> MapOutputs(const Outputs<From>& from, Map map) {
  Outputs<To> to;
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<From>& row = kOutputRows<From>[i];
    to.*kOutputRows<To>[i].member = map(row, from.*row.member);
  }
  return to;
}

}  // namespace lossd

#endif  // LOSSD_OUTPUTS_H_
