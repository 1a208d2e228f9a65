#ifndef LOSSD_TESTS_SUPPORT_ORACLE_WEIGHTS_H_
#define LOSSD_TESTS_SUPPORT_ORACLE_WEIGHTS_H_

#include <optional>
#include <vector>

#include "lossd/loss_spec.h"
#include "tests/support/oracle_shape.h"
#include "tests/support/real.h"

namespace lossd::oracle {

// The class weights of any position, normalised as the spec asks.
class ClassWeights {
 public:
  // `geometry` and the view's bytes must outlive this. No tensor: every weight is 1.
  ClassWeights(const LossSpec& spec, const Geometry& geometry,
               const std::optional<TensorView>& weights);

  // Weight of each class at the position.
  std::vector<Real> At(const Index& position) const;

  // How many roundings to f64 a normalised weight has seen: (w * count) / sum, and sum itself.
  int roundings() const { return normalization_ == WeightNormalization::kNone ? 0 : 3; }

 private:
  enum class Form { kNone, kPerClass, kFull, kOneSample };

  Real Raw(const Index& index) const;  // as sent, for that element of the predictions
  // What the weights at a position are multiplied by, and divided by.
  Real Count() const;
  Real Sum(const Index& position) const;

  const Geometry& geometry_;
  std::optional<TensorView> weights_;
  WeightNormalization normalization_ = WeightNormalization::kNone;
  Form form_ = Form::kNone;
  std::vector<Real> sample_sums_;  // under kGlobal with location-dependent weights, by batch index
};

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_SUPPORT_ORACLE_WEIGHTS_H_
