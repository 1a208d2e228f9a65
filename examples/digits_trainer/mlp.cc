#include "examples/digits_trainer/mlp.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace digits {
namespace {

// out[j] = bias[j] + weights[j] . in
void Layer(const float* weights, const float* bias, const float* in, int64_t in_size, float* out,
           int64_t out_size) {
  for (int64_t j = 0; j < out_size; ++j) {
    float sum = bias[j];
    for (int64_t i = 0; i < in_size; ++i) sum += weights[j * in_size + i] * in[i];
    out[j] = sum;
  }
}

// weights[j] += by[j] * in, bias[j] += by[j]
void AddOuter(const float* by, int64_t by_size, const float* in, int64_t in_size, float* weights,
              float* bias) {
  for (int64_t j = 0; j < by_size; ++j) {
    for (int64_t i = 0; i < in_size; ++i) weights[j * in_size + i] += by[j] * in[i];
    bias[j] += by[j];
  }
}

}  // namespace

Mlp::Mlp(uint32_t seed) : parameters_(kParameters), velocity_(kParameters) {
  std::mt19937 random(seed);
  // Not std::normal_distribution: what it makes of the same bits differs between libraries.
  const auto fill = [&](int64_t begin, int64_t end, int64_t fan_in) {
    const float reach = std::sqrt(6.0f / static_cast<float>(fan_in));
    for (int64_t i = begin; i < end; ++i) {
      parameters_[i] = reach * (static_cast<float>(random()) * 0x1p-31f - 1.0f);
    }
  };
  fill(0, kHiddenBias, kPixels);
  fill(kOutput, kOutputBias, kHidden);
}

Mlp::Activations Mlp::Forward(const Images& images) const {
  Activations activations;
  activations.hidden.resize(images.count() * kHidden);
  activations.logits.resize(images.count() * kClasses);
  const float* const p = parameters_.data();
  for (int64_t n = 0; n < images.count(); ++n) {
    float* const hidden = activations.hidden.data() + n * kHidden;
    Layer(p, p + kHiddenBias, images.pixels.data() + n * kPixels, kPixels, hidden, kHidden);
    for (int64_t j = 0; j < kHidden; ++j) hidden[j] = std::max(hidden[j], 0.0f);
    Layer(p + kOutput, p + kOutputBias, hidden, kHidden, activations.logits.data() + n * kClasses,
          kClasses);
  }
  return activations;
}

std::vector<float> Mlp::Backward(const Images& images, const Activations& activations,
                                 absl::Span<const float> logits_gradient) const {
  std::vector<float> gradient(kParameters);
  float* const g = gradient.data();
  const float* const output = parameters_.data() + kOutput;
  for (int64_t n = 0; n < images.count(); ++n) {
    const float* const hidden = activations.hidden.data() + n * kHidden;
    const float* const by_logits = logits_gradient.data() + n * kClasses;
    AddOuter(by_logits, kClasses, hidden, kHidden, g + kOutput, g + kOutputBias);
    float by_hidden[kHidden] = {};
    for (int64_t k = 0; k < kClasses; ++k) {
      for (int64_t j = 0; j < kHidden; ++j) by_hidden[j] += by_logits[k] * output[k * kHidden + j];
    }
    for (int64_t j = 0; j < kHidden; ++j) by_hidden[j] = hidden[j] > 0 ? by_hidden[j] : 0.0f;
    AddOuter(by_hidden, kHidden, images.pixels.data() + n * kPixels, kPixels, g, g + kHiddenBias);
  }
  return gradient;
}

void Mlp::Step(absl::Span<const float> parameters_gradient, float rate, float momentum) {
  for (int64_t i = 0; i < kParameters; ++i) {
    velocity_[i] = momentum * velocity_[i] - rate * parameters_gradient[i];
    parameters_[i] += velocity_[i];
  }
}

}  // namespace digits
