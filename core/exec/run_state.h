#ifndef LOSSD_CORE_EXEC_RUN_STATE_H_
#define LOSSD_CORE_EXEC_RUN_STATE_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "core/exec/class_weights.h"
#include "core/exec/labels.h"
#include "core/exec/loss_run.h"
#include "core/exec/margin.h"
#include "core/exec/reals.h"
#include "core/plan/loss_plan.h"

namespace lossd {

// What a position weighs beside q.
enum class WeightOf : int8_t {
  kLabel,    // w(y): where it is 0, nothing of the position counts
  kTargets,  // what is found when the rows are looked at: the mass of its targets, or by a head
};

// What LossRun knows after Prepare; read-only from then on.
struct RunState {
  LossPlan plan;
  SideBytes side;
  Labels labels;  // class-index targets
  ClassWeights class_weights;
  double denominator = 0;  // D; 0 where the all-ignored policy decides
  double loss_cap = std::numeric_limits<double>::infinity();  // softmax: -log(log_floor)
  double lse_square_scale = 0;          // softmax: zeta lse^2 is added to each position's loss
  double entropy_bonus = 0;             // softmax: and this times the entropy subtracted
  std::vector<double> class_bias = {};  // softmax: of each class; empty: none
  kernels::LogitChange logit_change = {
      .soft_cap = std::numeric_limits<double>::infinity(), .scale = 1, .bias = nullptr};

  std::vector<double> ground_metric = {};  // wasserstein: [C][C], and slack

  std::optional<Margin> margin = {};  // softmax: of the label's cosine
  // Policy, of sequences of tokens: the index behind the last token of each.
  std::vector<int64_t> sequence_ends = {};

  // Of a softmax loss with one label a position whose slopes follow from the reduced row
  // (kernels::SoftmaxHead): its body and options. Null: cross entropy. A head that has a log_floor
  // or class weights applies them itself.
  decltype(kernels::SoftmaxHead::body) softmax_head = nullptr;
  std::vector<double> softmax_head_options = {};
  // Whether such a head is 0 where w(y) is.
  bool softmax_head_is_weighted = false;

  bool hard_targets() const { return plan.hard_targets(); }
  kernels::Real real() const { return RealOf(plan.dtype()); }
  kernels::Real gradient_real() const { return RealOf(plan.gradient_dtype()); }
  kernels::Compute compute() const { return ComputeOf(real()); }

  double PositionWeight(int64_t position) const;
};

// Walks the elements of a packed box in their order.
class ElementCursor {
 public:
  ElementCursor(const LossPlan& plan, const Box& box, int64_t element)
      : plan_(plan),
        box_(box),
        o_(box.outer_begin + element / box.inner_count / plan.classes()),
        k_(element / box.inner_count % plan.classes()),
        i_(box.inner_begin + element % box.inner_count) {}

  // Indices in the whole tensor.
  int64_t o() const { return o_; }
  int64_t k() const { return k_; }
  int64_t i() const { return i_; }
  int64_t element() const { return (o_ * plan_.classes() + k_) * plan_.inner() + i_; }

  void Next() {
    if (++i_ < box_.inner_begin + box_.inner_count) return;
    i_ = box_.inner_begin;
    if (++k_ < plan_.classes()) return;
    k_ = 0;
    ++o_;
  }

 private:
  const LossPlan& plan_;
  Box box_;
  int64_t o_;
  int64_t k_;
  int64_t i_;
};

// What the loss needs to know of consecutive positions beside their predictions. Arrays have slack
// like scratch.
struct Positions {
  int64_t count = 0;
  WeightOf weight_of = WeightOf::kLabel;
  std::vector<int32_t> label;  // hard targets: class or kernels::kIgnoredLabel; else 0
  std::vector<double> weight;  // hard targets: w(y); else 1 until the targets' mass is known
  std::vector<double> q;       // position weight
  // Of a policy loss; empty where the request has none.
  std::vector<double> advantage, old, reference;
  std::vector<double> gradient;  // a_i = gradient_scale * upstream_i * (L * q_i / D); ignored: 0

  // Fills in `count` positions from `begin` (row-major over [outer][inner], within one outer index
  // or with inner == 1).
  void Load(const RunState& run, int64_t begin, int64_t count, WeightOf weight_of);

  // The same for elements of a loss over elements, from element `first` of a packed box. `weight`
  // is the class weight.
  void LoadElements(const RunState& run, const Box& box, int64_t first, int64_t count);

  // And for classes of groups, from class `begin` of [groups][classes]. q is 1.
  void LoadGroups(const RunState& run, int64_t begin, int64_t count);

 private:
  void LoadWeights(const RunState& run, int64_t begin);
  void LoadGradients(const RunState& run, int64_t begin);
  void LoadTokens(const RunState& run, int64_t begin);

  // Whether nothing but 1 was ever written to these, which then need not be filled again.
  bool plain_weight_ = true;
  bool plain_q_ = true;
};

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_RUN_STATE_H_
