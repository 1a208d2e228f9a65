// Losses of Family::kElements: every element of a box counts by itself.
//
//   cut      the elements of a packed box as they lie, whatever its shape
//   scratch  a few numbers of each element of a stretch
//   run      widens predictions and targets, calls the loss's head, scales its slopes

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <variant>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "core/exec/count_elements.h"
#include "core/exec/cut.h"
#include "core/exec/policy_sums.h"
#include "core/exec/position_sums.h"
#include "core/exec/runner.h"
#include "core/exec/visit_elements.h"
#include "core/kernels/heads-inl.h"

namespace lossd {
namespace {

using kernels::Compute;

constexpr int64_t kStretchElements = kernels::kMaxExactTerms;
static_assert(kUnitElements % kStretchElements == 0 && kLargeUnitElements % kStretchElements == 0);

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

Cut CutElements(const LossPlan& plan, const Box& box, bool) {
  const int64_t elements = box.outer_count * plan.classes() * box.inner_count;
  Cut cut;
  cut.rows = true;
  cut.positions = elements;
  cut.planes = 1;
  cut.unit = elements >= kLargeBoxElements ? kLargeUnitElements : kUnitElements;
  cut.tile = kStretchElements;
  cut.stretch = kStretchElements;
  cut.unit_planes = 1;
  cut.units_per_plane = CeilDiv(elements, cut.unit);
  cut.units = cut.units_per_plane;
  return cut;
}

int64_t ScratchBytes(const LossPlan&, bool) { return 0; }  // nothing that grows with the shape

// In float where it holds predictions and targets exactly.
Compute ComputeType(const LossPlan& plan) {
  const LossTensorDescs& tensors = plan.tensors();
  const auto fits = [](DType dtype) { return SizeOf(dtype) <= 2 || dtype == DType::kF32; };
  const bool narrow = (tensors.target_kind == TargetKind::kNone || fits(tensors.targets.dtype)) &&
                      (!tensors.second_predictions || fits(tensors.second_predictions->dtype));
  return narrow ? ComputeOf(RealOf(plan.dtype())) : Compute::kDouble;
}

// Elements first .. first + count - 1 of a packed box, in the compute type C.
template <class C>
void LoadElements(const ScatteredBytes& source, DType dtype, int64_t first, int64_t count,
                  Scratch& gathered, C* out) {
  constexpr Compute kCompute = std::is_same_v<C, float> ? Compute::kFloat : Compute::kDouble;
  const int64_t bytes = count * SizeOf(dtype);
  const std::byte* from = source.Contiguous(first * SizeOf(dtype), bytes);
  if (from == nullptr) {
    auto* copy = gathered.Get<std::byte>(bytes);
    source.CopyTo(first * SizeOf(dtype), bytes, copy);
    from = copy;
  }
  if (IsFloating(dtype)) {
    kernels::Active().widen[Index(kCompute)][Index(RealOf(dtype))](from, count, out);
    return;
  }
  VisitElements(dtype, {from, static_cast<size_t>(bytes)}, [&](auto value_at) {
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<C>(value_at(i));
  });
}

// The head of a loss, its options, and the tensors it takes beside the usual ones.
struct HeadOf {
  const kernels::ElementHeadFacts* head = nullptr;
  absl::InlinedVector<double, 12> options;
  absl::InlinedVector<Role, kernels::kMaxElementExtras> extras;
};

// A tensor that has a head's extra argument.
bool IsExtra(const TensorFacts& row) {
  const bool known = row.role == Role::kPositionWeights || row.role == Role::kUpstreamGradient;
  return row.per == Per::kClassOrOne || (row.per == Per::kPosition && !row.target_kind && !known);
}

// A loss of the family without a head does not compile.
HeadOf FindHead(const LossSpec& spec) {
  return std::visit(
      [&spec]<class L>(const L& loss) {
        HeadOf found;
        if constexpr (MayBeOf<L>(Family::kElements)) {
          constexpr int kHead = kernels::HWY_NAMESPACE::ElementHeadIndex(LossRow<L>::kName);
          static_assert(kHead < kernels::HWY_NAMESPACE::kElementHeads);
          found.head = &kernels::Active().elements[kHead];
          ForEachOption<L>([&](const auto& option) {
            OptionNumbers(loss.*option.member,
                          [&found](double number) { found.options.push_back(number); });
          });
          found.options.push_back(spec.label_smoothing);
          for (const TensorRule& rule : FactsOf(spec.loss).tensors) {
            if (IsExtra(FactsOf(rule.role))) found.extras.push_back(rule.role);
          }
        }
        return found;
      },
      spec.loss);
}

// Fills in what a head's extra argument is for consecutive elements of a box: 1 for weights and 0
// for others where the request has none.
void LoadExtra(const BoxJob& job, Role role, int64_t first, int64_t count, double* out) {
  const LossPlan& plan = job.run.plan;
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorRow<TensorDesc>& row = kTensorRows<TensorDesc>[i];
    if (row.role != role) continue;
    const TensorDesc* const desc = TensorOf(plan.tensors(), row);
    const bool by_class = row.per == Per::kClassOrOne;
    if (desc == nullptr) {
      std::fill_n(out, count, by_class ? 1.0 : 0.0);
      continue;
    }
    const kernels::Real real = RealOf(desc->dtype);
    const ByteSpan bytes = job.run.side.*kTensorRows<ByteSpan>[i].whole;
    ElementCursor at(plan, job.box, first);
    for (int64_t e = 0; e < count; ++e, at.Next()) {
      const int64_t of_class = desc->shape.front() == 1 ? 0 : at.k();
      out[e] = LoadReal(real, bytes.data(), by_class ? of_class : at.element());
    }
  }
}

// A stretch of elements on its way through the head, in the compute type C.
template <class C>
class ElementRun {
 public:
  ElementRun(const BoxJob& job, const Stretch& stretch, Workspace& work)
      : job_(job),
        plan_(job.run.plan),
        first_(stretch.o),
        count_(stretch.count),
        work_(work),
        positions_(work.positions),
        head_(FindHead(plan_.spec())) {}

  void Run(UnitSums& unit) {
    positions_.LoadElements(job_.run, job_.box, first_, count_);
    TakeMemory();
    LoadArguments();
    SkipIgnored();
    head_.head->body[Index(kCompute)]({x_, t_, second_, extras_, head_.options.data(), count_,
                                       loss_, slope_, second_slope_, event_});
    CountEvents(unit);
    AddSums(unit);
    AddPositions(job_, positions_, first_, loss_, positions_.weight.data(), unit);
    WriteGradients();
  }

 private:
  static constexpr Compute kCompute = std::is_same_v<C, float> ? Compute::kFloat : Compute::kDouble;

  void TakeMemory() {
    const int64_t stride = count_ + kernels::kGroup;
    C* const numbers = work_.exponentials.Get<C>(6 * stride);
    C** const arrays[] = {&x_, &t_, &second_, &slope_, &second_slope_, &factor_};
    for (int i = 0; i < 6; ++i) *arrays[i] = numbers + i * stride;
    auto* const doubles = work_.losses.Get<double>((2 + kernels::kMaxElementExtras) * stride);
    loss_ = doubles;
    event_ = doubles + stride;
    for (int i = 0; i < kernels::kMaxElementExtras; ++i) extras_[i] = doubles + (2 + i) * stride;
  }

  void LoadArguments() {
    const LossTensorDescs& tensors = plan_.tensors();
    LoadElements(job_.in.predictions, plan_.dtype(), first_, count_, work_.gathered, x_);
    if (head_.head->targets && plan_.targets_come_whole()) {
      LoadWholeTargets();
    } else if (head_.head->targets) {
      LoadElements(job_.in.target_values, tensors.targets.dtype, first_, count_,
                   work_.gathered_targets, t_);
    }
    if (head_.head->second) {
      LoadElements(job_.in.second_predictions, tensors.second_predictions->dtype, first_, count_,
                   work_.gathered, second_);
    }
    for (int i = 0; i < head_.head->extras; ++i) {
      const Role role = head_.extras[i];
      double* const extra = extras_[i];
      LoadExtra(job_, role, first_, count_, extra);
      // Without an old policy tokens were taken by this one.
      const bool on_policy = role == Role::kOldLogProbabilities && !tensors.old_log_probabilities;
      if (on_policy) std::copy_n(x_, count_, extra);
    }
  }

  void LoadWholeTargets() {
    VisitElements(plan_.tensors().targets.dtype, job_.run.side.targets, [&](auto value_at) {
      ElementCursor at(plan_, job_.box, first_);
      for (int64_t i = 0; i < count_; ++i, at.Next()) {
        t_[i] = static_cast<C>(value_at(at.element()));
      }
    });
  }

  void SkipIgnored() {
    if (plan_.spec().ignore_labels.empty()) return;
    for (int64_t i = 0; i < count_; ++i) {
      if (!IsIgnoredTarget(plan_.spec(), t_[i])) continue;
      positions_.label[i] = kernels::kIgnoredLabel;
      positions_.gradient[i] = 0;
    }
  }

  bool HasNan(int64_t i) const {
    bool has = head_.head->targets && std::isnan(t_[i]);
    for (int e = 0; e < head_.head->extras; ++e) has = has || std::isnan(extras_[e][i]);
    return has;
  }

  void CountEvents(UnitSums& unit) {
    for (int64_t i = 0; i < count_; ++i) {
      const bool ignored = positions_.label[i] < 0;
      const auto position = [&] { return ElementCursor(plan_, job_.box, first_ + i).element(); };
      const bool nan = std::isnan(x_[i]) || (head_.head->second && std::isnan(second_[i]));
      if (!ignored && (nan || (std::isnan(loss_[i]) && !HasNan(i)))) {
        unit.CountNonFinite(position());
      }
      if (head_.head->events && !ignored) {
        const auto event = static_cast<kernels::ElementEvent>(event_[i]);
        if (event == kernels::ElementEvent::kClamped) ++unit.sums.clamped_count;
        if (event == kernels::ElementEvent::kBadTarget) unit.RefuseTarget(position(), t_[i]);
      }
      // One and the same NaN, whatever NaN it was.
      loss_[i] = std::isnan(loss_[i]) ? kNaN : positions_.weight[i] * loss_[i];
    }
  }

  // What the loss says of its elements beside their losses.
  void AddSums(UnitSums& unit) {
    const Loss& loss = plan_.spec().loss;
    const LossTensorDescs& tensors = plan_.tensors();
    if (std::holds_alternative<PolicyLoss>(loss)) {
      const std::vector<double> lp(x_, x_ + count_ + kernels::kGroup);
      AddPolicySums(job_, positions_,
                    {.log_probability = lp.data(),
                     .advantage = extras_[0],
                     .old = tensors.old_log_probabilities ? extras_[1] : nullptr,
                     .reference = tensors.reference_log_probabilities ? extras_[2] : nullptr},
                    first_, unit);
    } else if (const auto* const preference = std::get_if<PreferenceLoss>(&loss)) {
      std::vector<double> chosen(count_);
      std::vector<double> rejected(count_);
      for (int64_t i = 0; i < count_; ++i) {
        chosen[i] = x_[i] - extras_[0][i];
        rejected[i] = second_[i] - extras_[1][i];
      }
      AddPreferenceSums(positions_, preference->beta, chosen.data(), rejected.data(), unit);
    }
  }

  void WriteGradients() {
    const OutputSet& wanted = plan_.outputs();
    if (!wanted.gradient && !wanted.second_gradient) return;
    for (int64_t i = 0; i < count_; ++i) positions_.gradient[i] *= positions_.weight[i];
    kernels::Active().narrow_finite[Index(kCompute)](positions_.gradient.data(), count_, 1.0,
                                                     factor_);
    const OutputDTypes dtypes = plan_.output_dtypes();
    if (wanted.gradient) Write(slope_, dtypes.gradient, job_.out.gradient);
    if (wanted.second_gradient) {
      Write(second_slope_, dtypes.second_gradient, job_.out.second_gradient);
    }
  }

  void Write(C* slope, DType dtype, MutableByteSpan out) const {
    for (int64_t i = 0; i < count_; ++i) {
      // What weighs nothing has no gradient, be its slope infinite or NaN.
      if (factor_[i] == 0) slope[i] = 0;
    }
    kernels::Active().scale_elements[Index(kCompute)][Index(RealOf(dtype))](
        slope, factor_, count_, job_.streaming, out.data() + first_ * SizeOf(dtype));
  }

  const BoxJob& job_;
  const LossPlan& plan_;
  int64_t first_;
  int64_t count_;
  Workspace& work_;
  Positions& positions_;
  HeadOf head_;

  C* x_ = nullptr;
  C* t_ = nullptr;
  C* second_ = nullptr;
  C* slope_ = nullptr;
  C* second_slope_ = nullptr;
  C* factor_ = nullptr;
  double* loss_ = nullptr;
  double* event_ = nullptr;
  double* extras_[kernels::kMaxElementExtras] = {};
};

void Run(const BoxJob& job, const Cut&, const Stretch& stretch, Workspace& work, UnitSums& unit) {
  if (ComputeType(job.run.plan) == Compute::kFloat) {
    ElementRun<float>(job, stretch, work).Run(unit);
  } else {
    ElementRun<double>(job, stretch, work).Run(unit);
  }
}

}  // namespace

const Runner kElements = {CutElements, ScratchBytes, ComputeType, Run};

}  // namespace lossd
