#include "core/exec/margin.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lossd {
namespace {

// The series of sine or cosine from the term of that degree on, for 0 <= x < pi / 2: the bits of a
// library's functions differ between machines.
double Series(double x, int degree) {
  constexpr int kLastDegree = 26;  // the next term is below 2^-60
  double sum = 1;
  for (int i = kLastDegree + degree; i > degree; i -= 2) {
    sum = 1 - sum * x * x / (static_cast<double>(i) * (i - 1));
  }
  return degree == 0 ? sum : sum * x;
}

}  // namespace

Margin::Margin(const SoftmaxMargin& options)
    : scale_(options.scale),
      additive_(options.additive),
      cos_(Series(options.angular, 0)),
      sin_(Series(options.angular, 1)),
      beyond_(options.angular * sin_),
      straight_through_(options.straight_through) {}

Margin::Of Margin::operator()(double x) const {
  if (!std::isfinite(x)) {
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    return {kNaN, kNaN, false};
  }
  const double inside = std::clamp(x, -1.0, 1.0);
  Of of = {0, 1, inside != x};
  if (inside >= -cos_) {
    constexpr double kLeastSine = 1e-6;  // the slope is infinite at 1
    const double sine = std::sqrt((1 - inside) * (1 + inside));
    of.cosine = inside * cos_ - sine * sin_ - additive_;
    of.slope = cos_ + inside * sin_ / std::max(sine, kLeastSine);
  } else {
    of.cosine = inside - beyond_ - additive_;
  }
  if (straight_through_) of.slope = 1;
  return of;
}

}  // namespace lossd
