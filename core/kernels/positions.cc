// Position by position: labels, the losses of labelled positions and their sums. Where a plain loop
// stands here the compiler makes vectors of it, for each target its own.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/positions.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include <type_traits>
#include <utility>

#include "core/kernels/group-inl.h"
#include "core/kernels/labelled-inl.h"
#include "core/kernels/reductions-inl.h"
#include "core/kernels/softmax_head-inl.h"
#include "core/kernels/stores-inl.h"
#include "core/kernels/tables.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

template <class T>
void ReadLabels(const void* labels, int64_t count, int32_t classes, const int64_t* ignored,
                int32_t* out) {
  using Unsigned = std::make_unsigned_t<T>;
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<T>::max());
  const auto last = static_cast<Unsigned>(std::min<uint64_t>(kMost, classes - 1));
  const bool any_ignored = ignored && std::in_range<T>(*ignored);
  const T skipped = any_ignored ? static_cast<T>(*ignored) : T{0};
  const auto* from = static_cast<const uint8_t*>(labels);
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    const int32_t label =
        static_cast<Unsigned>(value) <= last ? static_cast<int32_t>(value) : kInvalidLabel;
    out[i] = any_ignored && value == skipped ? kIgnoredLabel : label;
  }
}

void LabelledLosses(const LabelledPositions& at, int64_t count) {
  const Tag<double> d;
  for (int64_t p = 0; p < count; p += kLanes<double>) {
    const auto rest = hn::LoadU(d, at.rest + p);
    const auto distance = hn::Sub(hn::LoadU(d, at.peak + p), hn::LoadU(d, at.picked + p));
    const auto loss = hn::Add(distance, hn::LoadU(d, at.log1p_rest + p));
    // A row's NaN is `rest`, whatever NaN stood in the row: of two, a sum may be either.
    hn::StoreU(hn::IfThenElse(hn::IsNaN(rest), rest, loss), d, at.loss + p);
  }
}

void LabelledGradients(const LabelledPositions& at, int64_t count) {
  const Tag<double> d;
  for (int64_t p = 0; p < count; p += kLanes<double>) {
    const LabelledGradient g = GradientOf(
        hn::LoadU(d, at.peak + p), hn::LoadU(d, at.rest + p), hn::LoadU(d, at.picked + p),
        hn::LoadU(d, at.picked_exponential + p), hn::LoadU(d, at.coefficient + p));
    hn::StoreU(g.label_gradient, d, at.label_gradient + p);
    hn::StoreU(g.scale, d, at.scale + p);
  }
}

void ApplyHeadToAll(const SoftmaxHead& head, const LabelledPositions& at, int64_t count) {
  ApplyHead(head, at, 0, count);
}

template <class C>
void NarrowFinite(const double* x, int64_t count, double unit, void* out) {
  for (int64_t i = 0; i < count; i += kGroup) {
    Group<double> xs = LoadGroupAt<Real::kF64, double>(x, i, count, 0.0);
    for (auto& v : xs.v) v = Finite<C>(v, unit);
    StoreGroupAt<kOwnFormat<C>, double>(xs, out, i, count);
  }
}

void FillCounted(const int32_t* label, double value, int64_t count, double* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = label[i] < 0 ? 0.0 : value;
}

int64_t CountedTerms(const int32_t* label, const double* loss, double scale, int64_t count,
                     double* terms) {
  int32_t ignored = 0;
  for (int64_t i = 0; i < count; ++i) ignored += label[i] < 0 ? 1 : 0;
  for (int64_t i = 0; i < count; ++i) terms[i] = label[i] < 0 ? 0.0 : scale * loss[i];
  return ignored;
}

// The least and the largest magnitude, zeros left out; false where there is a NaN.
bool Magnitudes(const double* x, int64_t count, double* least, double* most) {
  const Tag<double> d;
  const auto infinity = hn::Set(d, kInfinity<double>);
  auto low = infinity;
  auto high = hn::Zero(d);
  auto numbers = hn::Eq(low, infinity);
  for (int64_t i = 0; i < count; i += kGroup) {
    const auto xs = LoadGroupAt<Real::kF64, double>(x, i, count, 0.0);
    for (const auto& v : xs.v) {
      const auto magnitude = hn::Abs(v);
      numbers = hn::And(numbers, hn::Lt(magnitude, infinity));
      low = hn::Min(low, hn::IfThenElse(hn::Eq(v, hn::Zero(d)), infinity, magnitude));
      high = hn::Max(high, magnitude);
    }
  }
  *least = hn::GetLane(hn::MinOfLanes(d, low));
  *most = hn::GetLane(hn::MaxOfLanes(d, high));
  return hn::AllTrue(d, numbers);
}

bool ExactParts(const double* x, int64_t count, double parts[2]) {
  parts[0] = parts[1] = 0;
  double least;
  double most;
  if (!Magnitudes(x, count, &least, &most)) return false;
  if (most == 0) return true;
  const int top = std::ilogb(most);
  // All whole numbers of 2^(ilogb(least) - 52); the high parts of 2^(top - 42), the sums of which
  // stay below 2^(top + 11), those of the low parts below 2^(top - 33).
  if (count > kMaxExactTerms || top > 900 || top < -900 || std::ilogb(least) < top - 34) {
    return false;
  }
  const Tag<double> d;
  const auto magic = hn::Set(d, std::ldexp(1.5, top - 42 + 52));
  Group<double> high = Fill(0.0);
  Group<double> low = Fill(0.0);
  for (int64_t i = 0; i < count; i += kGroup) {
    const auto xs = LoadGroupAt<Real::kF64, double>(x, i, count, 0.0);
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto whole = hn::Sub(hn::Add(xs.v[j], magic), magic);
      high.v[j] = hn::Add(high.v[j], whole);
      low.v[j] = hn::Add(low.v[j], hn::Sub(xs.v[j], whole));
    }
  }
  parts[0] = SumLanes(high);
  parts[1] = SumLanes(low);
  return true;
}

void FillPositions(KernelSet& set) {
  set.read_labels[0] = ReadLabels<int8_t>;
  set.read_labels[1] = ReadLabels<int16_t>;
  set.read_labels[2] = ReadLabels<int32_t>;
  set.read_labels[3] = ReadLabels<int64_t>;
  set.read_labels[4] = ReadLabels<uint8_t>;
  set.read_labels[5] = ReadLabels<uint16_t>;
  set.read_labels[6] = ReadLabels<uint32_t>;
  set.read_labels[7] = ReadLabels<uint64_t>;
  set.labelled_losses = LabelledLosses;
  set.labelled_gradients = LabelledGradients;
  set.apply_head = ApplyHeadToAll;
  set.narrow_finite[0] = NarrowFinite<float>;
  set.narrow_finite[1] = NarrowFinite<double>;
  set.fill_counted = FillCounted;
  set.counted_terms = CountedTerms;
  set.exact_parts = ExactParts;
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::kernels {
HWY_EXPORT(FillPositions);
void AddPositions(KernelSet& set) { HWY_DYNAMIC_DISPATCH(FillPositions)(set); }
}  // namespace lossd::kernels
#endif
