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
  T label_log_probabilities = {};  // f64, shape of the labels: log s_y; softmax loss only
  T entropy = {};                  // f64, shape of the labels; softmax loss only
  T label_rank = {};               // i32, shape of the labels; softmax loss only
  T second_gradient = {};          // shape of the predictions, its own dtype; where a loss has it

  friend bool operator==(const Outputs&, const Outputs&) = default;
};

// Which outputs are wanted. With Reduction::kNone, position_losses always is.
using OutputSet = Outputs<bool>;

// Where outputs go: contiguous, in the element order of the predictions, exactly as large as the
// output; empty for an output that is not wanted. `gradient` may be the very memory of the
// predictions (in place); any other overlap may not occur.
using LossOutputs = Outputs<MutableByteSpan>;

// What decides the elements of an output.
enum class OutputDType : int8_t { kPredictions, kGradient, kSecondGradient, kF64, kI32, kU8 };

// The dtypes of one request that outputs may have.
struct OutputDTypes {
  DType predictions = DType::kF32;
  DType gradient = DType::kF32;
  DType second_gradient = DType::kF32;

  constexpr DType Of(OutputDType which) const {
    switch (which) {
      case OutputDType::kPredictions:
        return predictions;
      case OutputDType::kGradient:
        return gradient;
      case OutputDType::kSecondGradient:
        return second_gradient;
      case OutputDType::kF64:
        return DType::kF64;
      case OutputDType::kI32:
        return DType::kI32;
      case OutputDType::kU8:
        return DType::kU8;
    }
    return predictions;
  }
};

// Which losses have an output.
enum class OutputOf : int8_t { kAll, kSoftmax, kOverClasses, kSecondGradient };

constexpr bool HasOutput(const LossFacts& loss, OutputOf of) {
  switch (of) {
    case OutputOf::kAll:
      return true;
    case OutputOf::kSoftmax:
      return loss.family == Family::kSoftmax;
    case OutputOf::kOverClasses:
      return loss.family == Family::kPick || loss.family == Family::kSoftmax;
    case OutputOf::kSecondGradient:
      return loss.second_gradient;
  }
  return false;
}

// Why a loss does not have it.
constexpr std::string_view ReasonOf(OutputOf of) {
  switch (of) {
    case OutputOf::kAll:
      break;
    case OutputOf::kSoftmax:
      return "only the softmax loss has it";
    case OutputOf::kOverClasses:
      return "only losses that look at one class, or at a softmax, have it";
    case OutputOf::kSecondGradient:
      return "only losses whose second predictions have a gradient have it";
  }
  return "";
}

// What is to be known of an output, whatever T is.
struct OutputFacts {
  std::string_view name;  // of its field in every message
  Per per;                // kElement or kPosition
  OutputDType dtype;
  OutputOf of;
  int outputs_field;   // in lossd.v1.Outputs
  int response_field;  // in ComputeResponse
  int block_field;     // in BlockResult

  // Its field in lossd.v1.Outputs knows whether it is set: wanted unless it says otherwise.
  constexpr bool is_gradient() const {
    return dtype == OutputDType::kGradient || dtype == OutputDType::kSecondGradient;
  }
};

template <class T>
struct OutputRow : OutputFacts {
  T Outputs<T>::*member;
};

// In the order of the fields of lossd.v1.Outputs.
template <class T>
inline constexpr std::array<OutputRow<T>, 9> kOutputRows = {{
    {{"gradient", Per::kElement, OutputDType::kGradient, OutputOf::kAll, 1, 6, 7},
     &Outputs<T>::gradient},
    {{"position_losses", Per::kPosition, OutputDType::kF64, OutputOf::kAll, 2, 2, 3},
     &Outputs<T>::position_losses},
    {{"log_sum_exp", Per::kPosition, OutputDType::kF64, OutputOf::kSoftmax, 3, 3, 4},
     &Outputs<T>::log_sum_exp},
    {{"argmax_hits", Per::kPosition, OutputDType::kU8, OutputOf::kOverClasses, 4, 4, 5},
     &Outputs<T>::argmax_hits},
    {{"probabilities", Per::kElement, OutputDType::kPredictions, OutputOf::kSoftmax, 5, 5, 6},
     &Outputs<T>::probabilities},
    {{"label_log_probabilities", Per::kPosition, OutputDType::kF64, OutputOf::kSoftmax, 6, 7, 8},
     &Outputs<T>::label_log_probabilities},
    {{"entropy", Per::kPosition, OutputDType::kF64, OutputOf::kSoftmax, 7, 8, 9},
     &Outputs<T>::entropy},
    {{"label_rank", Per::kPosition, OutputDType::kI32, OutputOf::kSoftmax, 8, 9, 10},
     &Outputs<T>::label_rank},
    {{"second_gradient", Per::kElement, OutputDType::kSecondGradient, OutputOf::kSecondGradient, 9,
      10, 11},
     &Outputs<T>::second_gradient},
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
