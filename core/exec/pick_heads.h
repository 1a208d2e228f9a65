#ifndef LOSSD_CORE_EXEC_PICK_HEADS_H_
#define LOSSD_CORE_EXEC_PICK_HEADS_H_

#include <algorithm>
#include <cstdint>
#include <variant>

#include "core/exec/reals.h"
#include "lossd/losses.h"

namespace lossd {

// The arithmetic of the losses of Family::kPick: l = -c f(x), for one class or summed over a row.
// There is no primary template: a loss of the family without a head does not compile.
//   Clamps(x)           whether x is below the loss's domain, to which it is raised
//   Values(x, n, out)   out[i] = f(x[i])
//   Gradient(a, x)      -a f'(x)
//   Row(...)            a row of coefficients c: KernelSet::logistic_row, nll_row
template <class L>
class PickHead;

template <>
class PickHead<MultinomialLogisticLoss> {
 public:
  explicit PickHead(const MultinomialLogisticLoss& loss) : epsilon_(loss.log_epsilon) {}

  bool Clamps(double& x) const {
    const bool below = x < epsilon_;
    if (x <= epsilon_) x = epsilon_;  // also for -0
    return below;
  }
  void Values(const double* x, int64_t count, double* out) const {
    kernels::Active().log(x, count, out);
  }
  double Gradient(double a, double x) const { return -a / x; }
  kernels::PointwiseSums Row(kernels::Real real, const void* x, const double* c, int64_t classes,
                             double* g, kernels::Stop stop) const {
    return kernels::Active().logistic_row[Index(real)](x, c, classes, epsilon_, g, stop);
  }

 private:
  double epsilon_;
};

template <>
class PickHead<NllLoss> {
 public:
  explicit PickHead(const NllLoss&) {}

  bool Clamps(double&) const { return false; }
  void Values(const double* x, int64_t count, double* out) const { std::copy_n(x, count, out); }
  double Gradient(double a, double) const { return -a; }
  kernels::PointwiseSums Row(kernels::Real real, const void* x, const double* c, int64_t classes,
                             double* g, kernels::Stop stop) const {
    return kernels::Active().nll_row[Index(real)](x, c, classes, g, stop);
  }
};

// Calls body(head) with the head of `loss`. Precondition: it is of Family::kPick.
template <class Body>
void WithPickHead(const Loss& loss, Body body) {
  std::visit(
      [&]<class L>(const L& of) {
        if constexpr (LossRow<L>::kFamily == Family::kPick) body(PickHead<L>(of));
      },
      loss);
}

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_PICK_HEADS_H_
