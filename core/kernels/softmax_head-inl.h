// The head of a softmax loss, applied to reduced positions. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_SOFTMAX_HEAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_SOFTMAX_HEAD_INL_H_
#undef LOSSD_CORE_KERNELS_SOFTMAX_HEAD_INL_H_
#else
#define LOSSD_CORE_KERNELS_SOFTMAX_HEAD_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <limits>

#include "core/kernels/group-inl.h"
#include "core/kernels/kernels.h"
#include "core/kernels/labelled-inl.h"
#include "core/kernels/logarithms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// A block of positions between the reduction and the head, and behind the head.
class HeadBlock {
 public:
  HWY_INLINE HeadBlock(const LabelledPositions& at, int64_t first, int64_t count)
      : at_(at), first_(first), count_(count) {}

  HWY_INLINE void Run(const SoftmaxHead& head) {
    for (int64_t i = 0; i < count_; i += kLanes<double>) Before(i);
    head.body(head,
              {.first = first_,
               .count = count_,
               .minus_log_p = minus_log_p_,
               .log_sum_exp = log_sum_exp_,
               .probability = probability_,
               .others = others_},
              {.loss = loss_, .label_slope = label_slope_, .sum_slope = sum_slope_});
    for (int64_t i = 0; i < count_; i += kLanes<double>) Behind(i);
  }

 private:
  HWY_INLINE void Before(int64_t i) {
    const Tag<double> d;
    const int64_t p = first_ + i;
    const auto peak = hn::LoadU(d, at_.peak + p);
    const auto rest = hn::LoadU(d, at_.rest + p);
    const auto picked = hn::LoadU(d, at_.picked + p);
    const auto exponential = hn::LoadU(d, at_.picked_exponential + p);
    const auto whole = hn::Add(hn::Set(d, 1.0), rest);
    const auto log1p_rest = Log1p64(rest);
    hn::StoreU(log1p_rest, d, at_.log1p_rest + p);
    hn::Store(hn::Add(hn::Sub(peak, picked), log1p_rest), d, minus_log_p_ + i);
    hn::Store(hn::Add(peak, log1p_rest), d, log_sum_exp_ + i);
    hn::Store(hn::Div(exponential, whole), d, probability_ + i);
    hn::Store(hn::Div(Others(peak, rest, picked, exponential), whole), d, others_ + i);
    // Behind the last position nobody writes.
    for (double* array : {loss_, label_slope_, sum_slope_}) hn::Store(hn::Zero(d), d, array + i);
  }

  HWY_INLINE void Behind(int64_t i) const {
    const Tag<double> d;
    const int64_t p = first_ + i;
    const auto rest = hn::LoadU(d, at_.rest + p);
    const auto a = hn::LoadU(d, at_.coefficient + p);
    const auto label_slope = hn::Load(d, label_slope_ + i);
    const auto sum_slope = hn::Load(d, sum_slope_ + i);
    const auto counts = hn::Ne(a, hn::Zero(d));
    const auto c =
        hn::IfThenElseZero(counts, OneNaN<double>(hn::Mul(a, hn::Sub(sum_slope, label_slope))));
    const auto by_sum = hn::Mul(sum_slope, hn::Load(d, probability_ + i));
    const auto slope = hn::MulAdd(label_slope, hn::Load(d, others_ + i), by_sum);
    const auto label = hn::IfThenElseZero(counts, OneNaN<double>(hn::Mul(a, slope)));
    const auto nan = hn::Or(hn::IsNaN(c), hn::IsNaN(label));
    // What lies behind the last position is the coefficient of the next, and stays.
    const auto here = hn::FirstN(d, static_cast<size_t>(count_ - i));
    const auto not_a_number = hn::Set(d, std::numeric_limits<double>::quiet_NaN());
    hn::BlendedStore(not_a_number, hn::And(nan, here), d, at_.coefficient + p);
    hn::StoreU(c, d, at_.softmax_coefficient + p);
    hn::StoreU(OneNaN<double>(hn::Div(c, hn::Add(hn::Set(d, 1.0), rest))), d, at_.scale + p);
    hn::StoreU(hn::Add(label, hn::Zero(d)), d, at_.label_gradient + p);
    const auto loss = hn::Load(d, loss_ + i);
    // A row's NaN is `rest`, whatever the head makes of it.
    hn::StoreU(OneNaN<double>(hn::IfThenElse(hn::IsNaN(rest), rest, loss)), d, at_.loss + p);
  }

  const LabelledPositions& at_;
  const int64_t first_;
  const int64_t count_;
  alignas(64) double minus_log_p_[kTileBlock];
  alignas(64) double log_sum_exp_[kTileBlock];
  alignas(64) double probability_[kTileBlock];
  alignas(64) double others_[kTileBlock];
  alignas(64) double loss_[kTileBlock];
  alignas(64) double label_slope_[kTileBlock];
  alignas(64) double sum_slope_[kTileBlock];
};

// See KernelSet::apply_head. Not in line: bodies without a head keep their registers.
inline HWY_NOINLINE void ApplyHead(const SoftmaxHead& head, const LabelledPositions& at,
                                   int64_t first, int64_t count) {
  for (int64_t begin = 0; begin < count; begin += kTileBlock) {
    HeadBlock(at, first + begin, std::min(kTileBlock, count - begin)).Run(head);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
