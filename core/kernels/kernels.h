#ifndef LOSSD_CORE_KERNELS_KERNELS_H_
#define LOSSD_CORE_KERNELS_KERNELS_H_

#include <cstdint>

// The SIMD bodies behind every loss, one table per target. Nothing here checks, allocates, locks or
// fails: a LossPlan has been made before. Every sum over classes runs on kGroup virtual lanes,
// whatever the width of a register, so all targets with fused multiply-add give the same bits.

namespace lossd::kernels {

// Formats of real numbers in memory. Little-endian, no alignment asked for.
enum class Real : int8_t { kF32 = 0, kF64 = 1, kF16 = 2, kBF16 = 3 };
inline constexpr int kReals = 4;

// f64 predictions are computed in double, all others in float.
enum class Compute : int8_t { kFloat = 0, kDouble = 1 };
inline constexpr int kComputes = 2;

// Virtual lanes. Scratch rows need room for this many elements behind their end.
inline constexpr int64_t kGroup = 16;

inline constexpr int64_t kMaxTileWidth = 1024;

// Exponentials of float rows are taken relative to the largest element of their chunk of this many
// classes, so that one chunk stays in the first-level cache between the two looks at it.
inline constexpr int64_t kChunk = 2048;
constexpr int64_t Chunks(Compute compute, int64_t classes) {
  return compute == Compute::kDouble ? 1 : (classes + kChunk - 1) / kChunk;
}

// Float exponentials are kept times 2^24, so that none of them is a denormal number.
constexpr double ExpUnit(Compute compute) { return compute == Compute::kFloat ? 0x1p24 : 1.0; }

// A softmax row: sum over classes of e^(x_k - peak) = 1 + rest, where `rest` leaves out one class
// at which x is `peak`, so it keeps full relative accuracy however close to 1 that class's
// probability is. Both NaN if the row holds NaN or +inf, or -inf only.
struct RowSums {
  double peak;
  double rest;
};

// Sums over a row of c_k * min(peak - x_k + log1p(rest), cap), terms with c_k = 0 left out, and of
// c.
struct DenseSums {
  double loss;  // without the log1p(rest) part when there is no cap: add mass * log1p(rest)
  double mass;
  bool clamped;  // some term with c_k != 0 was cut at cap
};

// The loss and what happened in a dense row of the multinomial logistic or nll loss.
struct PointwiseSums {
  double loss;
  bool clamped;    // some x_k < epsilon with c_k != 0
  bool nonfinite;  // some x_k is NaN or +inf with c_k != 0
};

// Softmax of positions with one label each: what is known of each, and what follows from it.
struct LabelledPositions {
  const double* peak;
  const double* rest;
  const double* log1p_rest;
  const double* picked;              // logit of the label
  const double* picked_exponential;  // e^(picked - peak)
  const double* coefficient;         // c
  double* loss;                      // -log s_y
  double* label_gradient;            // -c (1 - s_y), never -0
  double* scale;                     // c / sum of e^(x - peak)
};

// What fused_rows works in; contents are not initialised and mean nothing afterwards.
struct FusedScratch {
  void* e;              // 2 * (classes + kGroup) elements of the compute type
  double* chunk_scale;  // one per chunk
  float* factor;        // one per chunk
};

// All pointers may be unaligned. `rows` rows lie one after the other, `classes` apart. Scratch
// (`e`, `c` and friends) is of the compute type and has kGroup elements of slack at its end.
struct KernelSet {
  const char* name;

  // Softmax, phase one. e[r][k] = e^(x_k - peak of its chunk) * ExpUnit, and per chunk
  // chunk_scale[r][chunk] = e^(peak of the chunk - peak of the row).
  void (*reduce_rows[kReals])(const void* x, int64_t rows, int64_t classes, void* e,
                              double* chunk_scale, RowSums* sums);
  // Softmax, phase two: out[r][k] = e[r][k] * factor[r][chunk of k] (never -0). `streaming`, here
  // and below: `out` is written past the caches, for outputs too large to be found there again.
  void (*scale_rows[kComputes][kReals])(const void* e, const void* factor, int64_t rows,
                                        int64_t classes, bool streaming, void* out);
  // out[r][k] = e[r][k] * factor[r][chunk of k] - c[r][k] * minus[r].
  void (*scale_rows_minus[kComputes][kReals])(const void* e, const void* factor, const void* c,
                                              const void* minus, int64_t rows, int64_t classes,
                                              bool streaming, void* out);
  // Both phases of rows with one label each, bit for bit as above, each row scaled while the next
  // is reduced: out[r][k] = coefficient[r] * softmax(x)[r][k] in the format of x, and picked[r] =
  // e^(x - peak) at the label (0 where label[r] < 0). Not for f64: null. out may be x.
  void (*fused_rows[kReals])(const void* x, int64_t rows, int64_t classes,
                             const double* coefficient, const int64_t* label, bool streaming,
                             const FusedScratch& scratch, RowSums* sums, double* picked, void* out);
  // Dense targets, one row; cap may be +inf (see DenseSums).
  DenseSums (*dense_sums[kReals])(const void* x, const void* c, int64_t classes, RowSums row,
                                  double log1p_rest, double cap);
  // Sum of c in the order of DenseSums::mass, to the bit.
  double (*mass[kComputes])(const void* c, int64_t classes);

  // The same two phases with lanes across positions: element (k, i) of a tile is at k * stride + i,
  // widths and strides in elements, i < width <= kMaxTileWidth. e is [classes][e_stride], e_stride
  // >= width rounded up to kGroup. Exponentials are relative to the position's own peak; peak and
  // rest as in RowSums, one per position. picked[i] and picked_exponential[i] are the prediction at
  // label[i] and its e (0 where the label is -1).
  void (*reduce_tile[kReals])(const void* x, int64_t stride, int64_t classes, int64_t width,
                              const int32_t* label, void* e, int64_t e_stride, double* peak,
                              double* rest, double* picked, double* picked_exponential);
  // out(k, i) = e(k, i) * factor[i] but label_value[i] where k is label[i] (-1: nowhere). Factors
  // and label values are of the compute type and have slack like scratch, labels too.
  void (*scale_tile[kComputes][kReals])(const void* e, int64_t e_stride, const void* factor,
                                        const int32_t* label, const void* label_value,
                                        int64_t classes, int64_t width, bool streaming, void* out,
                                        int64_t stride);

  // -log s_y = (peak - x_y) + log1p(rest): no cancellation, however certain the row is; and 1 - s_y
  // as the sum of the other classes over the whole sum. Arrays have slack like scratch.
  void (*labelled)(const LabelledPositions& positions, int64_t count);

  // One dense row of the other losses, always in double. logistic: loss = -sum c log max(x,
  // epsilon), g = -c / max(x, epsilon). nll: loss = -sum c x, g = -c. Terms with c_k = 0 are left
  // out.
  PointwiseSums (*logistic_row[kReals])(const void* x, const double* c, int64_t classes,
                                        double epsilon, double* g);
  PointwiseSums (*nll_row[kReals])(const void* x, const double* c, int64_t classes, double* g);

  // Widening copies. Float targets of f64 sources are rounded.
  void (*widen[kComputes][kReals])(const void* x, int64_t count, void* out);

  // out[i] = log(x[i]), log1p(x[i]), x >= 0 or NaN. log(0) = -inf. At most 4 ulp.
  void (*log)(const double* x, int64_t count, double* out);
  void (*log1p)(const double* x, int64_t count, double* out);
};

// The table of the active target (targets.h).
const KernelSet& Active();

}  // namespace lossd::kernels

#endif  // LOSSD_CORE_KERNELS_KERNELS_H_
