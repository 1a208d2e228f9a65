#ifndef LOSSD_EXAMPLES_DIGITS_TRAINER_MLP_H_
#define LOSSD_EXAMPLES_DIGITS_TRAINER_MLP_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "examples/digits_trainer/digits.h"

namespace digits {

// A classifier with one hidden layer of rectified units, and its training by gradient descent with
// momentum. Plain loops: the point of the example is who computes the loss.
class Mlp {
 public:
  static constexpr int64_t kHidden = 64;

  // Equal seeds give equal weights.
  explicit Mlp(uint32_t seed);

  struct Activations {
    std::vector<float> hidden;  // [count][kHidden]
    std::vector<float> logits;  // [count][kClasses]
  };
  Activations Forward(const Images& images) const;

  // d(loss)/d(parameters), flat, given d(loss)/d(logits) of the same images.
  std::vector<float> Backward(const Images& images, const Activations& activations,
                              absl::Span<const float> logits_gradient) const;

  void Step(absl::Span<const float> parameters_gradient, float rate, float momentum);

 private:
  // parameters_: hidden weights [kHidden][kPixels] and biases, then output weights
  // [kClasses][kHidden] and biases.
  static constexpr int64_t kHiddenBias = kHidden * kPixels;
  static constexpr int64_t kOutput = kHiddenBias + kHidden;
  static constexpr int64_t kOutputBias = kOutput + kClasses * kHidden;
  static constexpr int64_t kParameters = kOutputBias + kClasses;

  std::vector<float> parameters_;
  std::vector<float> velocity_;
};

}  // namespace digits

#endif  // LOSSD_EXAMPLES_DIGITS_TRAINER_MLP_H_
