// Softmax of contiguous rows with one label each, both phases in one pass: KernelSet::fused_rows.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/softmax_fused.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/float_row-inl.h"
#include "core/kernels/group-inl.h"
#include "core/kernels/small_rows-inl.h"
#include "core/kernels/softmax_head-inl.h"
#include "core/kernels/stores-inl.h"
#include "core/kernels/tables.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// Phase two of one row, a stretch at a time, while phase one of the next row computes: so writing
// to memory and computing overlap. Chunk by chunk, each with its factor.
template <Real R, bool kStreaming>
class ScaleBeside {
 public:
  HWY_INLINE ScaleBeside(const float* e, const float* factor, int64_t classes, void* out)
      : e_(e), factor_(factor), classes_(classes), out_(out) {}

  HWY_INLINE void BeginChunk(int64_t chunk) {
    Finish();
    k_ = chunk * kChunk;
    end_ = std::min(classes_, k_ + kChunk);
    scale_ = hn::Set(Tag<float>(), factor_[chunk]);
    if constexpr (kStreaming) {
      const int64_t aligned = std::min(end_, k_ + ToLine<R>(At<R>(out_, k_)));
      // A line of 16-bit numbers is longer than a group.
      for (; k_ < aligned; k_ += kGroup) {
        StoreGroupAt<R, float, Values::kNumbers>(Scaled(), out_, k_, aligned);
      }
      k_ = aligned;
    }
  }

  HWY_INLINE void Step() {
    const int64_t stop = std::min(end_ - kGroup, k_ + (kStretch - 1) * kGroup);
    for (; k_ <= stop; k_ += kGroup) {
      if constexpr (kStreaming) {
        StreamGroup<R, float, Values::kNumbers>(Scaled(), At<R>(out_, k_));
      } else {
        StoreGroupAt<R, float, Values::kNumbers>(Scaled(), out_, k_, end_);
      }
    }
  }

  // What is left of the chunk.
  HWY_INLINE void Finish() {
    for (; k_ < end_; k_ += kGroup)
      StoreGroupAt<R, float, Values::kNumbers>(Scaled(), out_, k_, end_);
  }

  HWY_INLINE void AllChunks(Stop stop) {
    for (int64_t chunk = 0; GoesOn(chunk * kChunk, classes_, stop); ++chunk) {
      BeginChunk(chunk);
      while (k_ + kGroup <= end_) Step();
    }
  }

 private:
  HWY_INLINE Group<float> Scaled() const { return ScaleGroup(LoadScratch(e_ + k_), scale_); }

  const float* e_;
  const float* factor_;
  int64_t classes_;
  void* out_;
  int64_t k_ = 0;
  int64_t end_ = 0;
  Vec<float> scale_ = hn::Zero(Tag<float>());
};

// e^(x - peak) at the label of a row; 0 where there is none.
HWY_INLINE double PickedExponential(const float* e, const double* chunk_scale, int32_t label) {
  return label < 0 ? 0.0 : e[label] * 0x1p-24 * chunk_scale[label / kChunk];
}

// Factors of a row's chunks.
HWY_INLINE void MakeFactors(double coefficient, double rest, const double* chunk_scale,
                            int64_t classes, float* factor) {
  const double scale = coefficient / (1.0 + rest) / ExpUnit(Compute::kFloat);
  for (int64_t c = 0; c < Chunks(Compute::kFloat, classes); ++c) {
    factor[c] = ToFinite<float>(scale * chunk_scale[c]);
  }
}

template <Real R, bool kStreaming>
void FuseRows(const void* x, int64_t rows, int64_t classes, const LabelledPositions& at,
              const SoftmaxHead* head, const int32_t* label, const FusedScratch& scratch, void* out,
              Stop stop) {
  float* mine = static_cast<float*>(scratch.e);
  float* before = mine + classes + kGroup;
  const auto scale_row = [&](int64_t r) HWY_ATTR {
    // Beside the first row there is none.
    return ScaleBeside<R, kStreaming>(before, scratch.factor, r < 0 ? 0 : classes,
                                      At<R>(out, std::max<int64_t>(r, 0) * classes));
  };
  for (int64_t r = 0; r < rows; ++r) {
    const void* row = At<R>(x, r * classes);
    auto beside = scale_row(r - 1);
    const RowSums sums = ReduceFloatRow<R>(row, classes, mine, scratch.chunk_scale, beside, stop);
    beside.Finish();
    at.peak[r] = sums.peak;
    at.rest[r] = sums.rest;
    at.picked_exponential[r] = PickedExponential(mine, scratch.chunk_scale, label[r]);
    if (HWY_UNLIKELY(head != nullptr)) ApplyHead(*head, at, r, 1);
    MakeFactors(at.softmax_coefficient[r], sums.rest, scratch.chunk_scale, classes, scratch.factor);
    std::swap(mine, before);
  }
  if (rows > 0) {
    auto last = scale_row(rows - 1);
    last.AllChunks(stop);
    last.Finish();
  }
  if constexpr (kStreaming) hwy::FlushStream();
}

// The same for rows of at most kGroup classes, kGroup rows at a time.
template <Real R, bool kStreaming>
void FuseSmallRows(const void* x, int64_t rows, int64_t classes, const LabelledPositions& at,
                   const SoftmaxHead* head, const int32_t* label, void* out) {
  for (int64_t begin = 0; begin < rows; begin += kGroup) {
    SmallRows block(classes, std::min(kGroup, rows - begin));
    const void* from = At<R>(x, begin * classes);
    block.Load<R>(from);
    block.Reduce();
    block.MendRests<R>(from);
    for (int64_t r = 0; r < block.rows; ++r) {
      const double rest = block.rest[r];
      const int32_t y = label[begin + r];
      at.peak[begin + r] = std::isnan(rest) ? kNotANumber.peak : block.peak[r];
      at.rest[begin + r] = rest;
      at.picked_exponential[begin + r] = y < 0 ? 0.0 : block.lanes[y * kGroup + r] * 0x1p-24;
    }
    if (HWY_UNLIKELY(head != nullptr)) ApplyHead(*head, at, begin, block.rows);
    alignas(64) float factor[kGroup] = {};
    for (int64_t r = 0; r < block.rows; ++r) {
      const double whole = 1.0 + block.rest[r];
      const double scale = at.softmax_coefficient[begin + r] / whole / ExpUnit(Compute::kFloat);
      factor[r] = ToFinite<float>(scale);
    }
    block.Scale(factor);
    void* to = At<R>(out, begin * classes);
    StoreRow<R, float>(to, 0, block.rows * classes, kStreaming,
                       [&](int64_t i) HWY_ATTR { return LoadScratch(block.flat + i); });
  }
  if constexpr (kStreaming) hwy::FlushStream();
}

template <Real R>
void FusedRows(const void* x, int64_t rows, int64_t classes, const LabelledPositions& at,
               const SoftmaxHead* head, const int32_t* label, bool streaming,
               const FusedScratch& scratch, void* out, Stop stop) {
  if (classes <= kGroup) {
    const auto fuse = streaming ? FuseSmallRows<R, true> : FuseSmallRows<R, false>;
    return fuse(x, rows, classes, at, head, label, out);
  }
  if constexpr (kCanStream<R, float>) {
    if (streaming && CanStream<R, float>(out)) {
      return FuseRows<R, true>(x, rows, classes, at, head, label, scratch, out, stop);
    }
  }
  FuseRows<R, false>(x, rows, classes, at, head, label, scratch, out, stop);
}

void FillFusedRows(KernelSet& set) {
  set.fused_rows[0] = FusedRows<Real::kF32>;
  set.fused_rows[1] = nullptr;
  set.fused_rows[2] = FusedRows<Real::kF16>;
  set.fused_rows[3] = FusedRows<Real::kBF16>;
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::kernels {
HWY_EXPORT(FillFusedRows);
void AddFusedRows(KernelSet& set) { HWY_DYNAMIC_DISPATCH(FillFusedRows)(set); }
}  // namespace lossd::kernels
#endif
