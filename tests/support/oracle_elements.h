#ifndef LOSSD_TESTS_SUPPORT_ORACLE_ELEMENTS_H_
#define LOSSD_TESTS_SUPPORT_ORACLE_ELEMENTS_H_

#include <cmath>

#include "lossd/losses.h"
#include "tests/support/real.h"

namespace lossd::oracle {

// One element of a loss over elements, with whatever belongs to it.
struct Element {
  Real x = 0;
  Real t = 0;
  Real second = 0;
  Real pos_weight = 1;
  Real reference = 0;
  Real second_reference = 0;
  Real old_value = 0;
  Real advantage = 0;
  Real old = 0;          // log-probability
  bool has_old = false;  // else x itself
  Real smoothing = 0;
};

// A sum, and what its accuracy is measured by: the sum of the sizes of its terms, and where an
// argument was rounded before, its size times the derivative.
struct Sized {
  Real value = 0;
  Real size = 0;

  // c f, which is 0 where the coefficient c is 0, whatever f is.
  Sized& Add(Real c, Real f) {
    if (c == 0) return *this;
    value += c * f;
    size += std::fabs(c * f);
    return *this;
  }
  Sized& Rounded(Real argument) {
    if (std::isfinite(argument)) size += std::fabs(argument);
    return *this;
  }
};

// l and its derivatives, from the formulas of docs/semantics.md.
struct ElementValue {
  Sized loss;
  Sized slope;
  Sized second;
  bool clamped = false;
};

// A loss over elements without an overload does not compile.
ElementValue ValueOf(const BinaryCrossEntropyLoss& loss, const Element& e);
ElementValue ValueOf(const SigmoidFocalLoss& loss, const Element& e);
ElementValue ValueOf(const HingeLoss& loss, const Element& e);
ElementValue ValueOf(const SquaredErrorLoss& loss, const Element& e);
ElementValue ValueOf(const AbsoluteErrorLoss& loss, const Element& e);
ElementValue ValueOf(const SmoothL1Loss& loss, const Element& e);
ElementValue ValueOf(const HuberLoss& loss, const Element& e);
ElementValue ValueOf(const LogCoshLoss& loss, const Element& e);
ElementValue ValueOf(const QuantileLoss& loss, const Element& e);
ElementValue ValueOf(const PoissonNllLoss& loss, const Element& e);
ElementValue ValueOf(const GaussianNllLoss& loss, const Element& e);
ElementValue ValueOf(const GaussianKlLoss& loss, const Element& e);
ElementValue ValueOf(const MarginRankingLoss& loss, const Element& e);
ElementValue ValueOf(const PairwiseLogisticLoss& loss, const Element& e);
ElementValue ValueOf(const PreferenceLoss& loss, const Element& e);
ElementValue ValueOf(const KtoLoss& loss, const Element& e);
ElementValue ValueOf(const ValueLoss& loss, const Element& e);
ElementValue ValueOf(const PolicyLoss& loss, const Element& e);

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_SUPPORT_ORACLE_ELEMENTS_H_
