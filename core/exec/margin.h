#ifndef LOSSD_CORE_EXEC_MARGIN_H_
#define LOSSD_CORE_EXEC_MARGIN_H_

#include "lossd/losses.h"

namespace lossd {

// What a margin makes of the label's cosine x: psi(x) - additive with psi(x) = cos(acos x +
// angular), and x - angular sin(angular) where that angle is beyond pi (J. Deng et al., ArcFace,
// CVPR 2019).
class Margin {
 public:
  explicit Margin(const SoftmaxMargin& options);

  struct Of {
    double cosine;  // psi(x) - additive
    double slope;   // its derivative by x
    bool clipped;   // x was outside -1..1
  };
  // NaN of a cosine that is not finite.
  Of operator()(double x) const;

  double scale() const { return scale_; }

 private:
  double scale_;
  double additive_;
  double cos_;  // of the angular margin
  double sin_;
  double beyond_;  // angular * sin(angular)
  bool straight_through_;
};

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_MARGIN_H_
