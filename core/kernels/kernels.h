#ifndef LOSSD_CORE_KERNELS_KERNELS_H_
#define LOSSD_CORE_KERNELS_KERNELS_H_

#include <atomic>
#include <cstdint>

// The SIMD bodies behind every loss, one table per target. Nothing here checks, allocates, locks or
// fails: a LossPlan has been made before. Every sum over classes runs on kGroup virtual lanes,
// whatever the width of a register, so all targets with fused multiply-add give the same bits.

namespace lossd::kernels {

// Formats of real numbers in memory. Little-endian, no alignment asked for.
enum class Real : int8_t { kF32 = 0, kF64 = 1, kF16 = 2, kBF16 = 3 };
inline constexpr int kReals = 4;

// In double: f64 predictions, and losses over elements with wide targets. All others: in float.
enum class Compute : int8_t { kFloat = 0, kDouble = 1 };
inline constexpr int kComputes = 2;

// Virtual lanes. Scratch rows need room for this many elements behind their end.
inline constexpr int64_t kGroup = 16;

// Neighbouring positions that are computed together where lanes run across positions.
inline constexpr int64_t kTileBlock = 4 * kGroup;

// Set once nobody wants the result any more; null: never. Bodies that may see very long rows look
// at it every kPollElements elements at least. Where it is set they return early, having written
// what means nothing.
using Stop = const std::atomic<bool>*;
inline constexpr int64_t kPollElements = int64_t{1} << 17;
inline bool Stopped(Stop stop) { return stop != nullptr && stop->load(std::memory_order_relaxed); }
// Whether a loop over n elements, in steps that divide kPollElements, goes on at element k.
inline bool GoesOn(int64_t k, int64_t n, Stop stop) {
  return k < n && (k % kPollElements != 0 || !Stopped(stop));
}

// Labels as the kernels know them: a class, or one of these.
inline constexpr int32_t kIgnoredLabel = -1;
inline constexpr int32_t kInvalidLabel = -2;

// Formats of whole numbers in memory, likewise.
enum class Whole : int8_t { kI8, kI16, kI32, kI64, kU8, kU16, kU32, kU64 };
inline constexpr int kWholes = 8;

inline constexpr int64_t kMaxExactTerms = 1024;

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

// Softmax of positions with one label each, an array for everything: what is known of each, and
// (the last four) what follows from it. With d and z the loss's derivatives by log s_y and by the
// log-sum-exp, the gradient is a (z - d) s_k, and at the label a (d (1 - s_y) + z s_y). For cross
// entropy d = -1 and z = 0.
struct LabelledPositions {
  double* peak;
  double* rest;
  double* log1p_rest;
  double* picked;               // logit of the label, 0 where there is none
  double* picked_exponential;   // e^(picked - peak), anything where there is none
  double* coefficient;          // a, of either sign; 0 or NaN: so is the gradient
  double* softmax_coefficient;  // a (z - d); without a SoftmaxHead `coefficient` itself
  double* loss;                 // -log s_y, or what the head makes of it
  double* label_gradient;       // at the label; never -0
  double* scale;                // softmax_coefficient / sum of e^(x - peak)
};

// Positions whose sums are known, as the head of a softmax loss sees them.
struct HeadInput {
  int64_t first;              // in the caller's arrays over positions
  int64_t count;              // at most kTileBlock
  const double* minus_log_p;  // -log s_y >= 0, without cancellation
  const double* log_sum_exp;
  const double* probability;  // s_y
  const double* others;       // 1 - s_y, without cancellation
};

// What the head makes of them, weights included: l, and its derivatives by log s_y and by the
// log-sum-exp, of either sign. Where one is not finite because a row is not, it means nothing.
struct HeadOutput {
  double* loss;
  double* label_slope;  // d
  double* sum_slope;    // z
};

// The head of a softmax loss whose slopes follow from the reduced row: it is called once a row, or
// block of positions, is reduced, and before it is scaled. Heads of constant slope (cross entropy)
// need none.
struct SoftmaxHead {
  void (*body)(const SoftmaxHead& head, const HeadInput& in, const HeadOutput& out);
  const double* options;  // of the loss
  const double* weight;   // w(y) of each position
  // Of a policy: advantage, log-probability of the policy that took the token (null: this one) and
  // of the reference (null: not looked at), of each position.
  const double* advantage = nullptr;
  const double* old = nullptr;
  const double* reference = nullptr;
};

// Options of KernelSet::label_head, by their index in SoftmaxHead::options.
enum LabelHeadOption {
  kLossCap,         // what -log s_y counts at most in the loss; infinity: all of it
  kFocalGamma,      // below 0: none
  kLseSquareScale,  // zeta of zeta lse^2, which the weight does not scale; 0: none
  kLabelHeadOptions
};

// What options of softmax losses make of logits: z = soft_cap tanh(x / soft_cap) scale + bias. An
// infinite or NaN logit stays what it is, but for a bias of -inf, which masks every logit.
struct LogitChange {
  double soft_cap;     // infinity: none
  double scale;        // 1 / temperature
  const double* bias;  // of each class; null: none
};

// A row of softmax gradient of changed logits: out[k] = (e[k] (base + by (z[k] - top)) - minus
// c[k]) slope[k]. All arrays but chunk_scale are of the compute type.
struct ChangedRow {
  const void* e;  // as reduced
  const double* chunk_scale;
  const void* z;
  const void* c;      // null: none
  const void* slope;  // null: all 1
  double top;
  double base;
  double by;
  double minus;
};

// What fused_rows works in; contents are not initialised and mean nothing afterwards.
struct FusedScratch {
  void* e;              // 2 * (classes + kGroup) elements of the compute type
  double* chunk_scale;  // one per chunk
  float* factor;        // one per chunk
};

// Tiles of [classes][width] elements in memory: element (k, i) at k * stride + i. In scratch,
// blocks of kTileBlock positions one after the other: [block][classes][kTileBlock]. Arrays over
// positions have slack like scratch.
struct TileInput {
  const void* x;
  int64_t stride;
  int64_t width;
  const int32_t* label;  // below 0: none
};

struct TileOutput {
  bool streaming;
  void* out;
  int64_t stride;
};

struct TileScale {
  const void* e;  // as reduced
  int64_t width;
  const void* factor;       // this and the next of the compute type
  const void* label_value;  // out(k, i) = e(k, i) * factor[i], but label_value[i] ...
  const int32_t* label;     // ... where k is label[i]; below 0: nowhere
  TileOutput to;
};

// What a head may have to say of an element beside its numbers.
enum class ElementEvent : int8_t {
  kNone = 0,
  kClamped = 1,    // a clamp took effect
  kBadTarget = 2,  // the target is none that the loss takes
};

// Elements for the head of an element loss, and what it says of them. All are scratch; x, t, second
// and the slopes are of the compute type. What the head does not take or say may be null.
struct ElementArrays {
  const void* x;
  const void* t;
  const void* second;           // second predictions
  const double* const* extras;  // further tensors, in the order of their roles
  const double* options;        // in the order of the loss's row, label_smoothing behind them
  int64_t count;
  double* loss;
  void* slope;
  void* second_slope;
  double* event;  // an ElementEvent
};
using ElementBody = void (*)(const ElementArrays& at);

// Among the options of the policy head, which are those of the loss's row.
enum PolicyOption : int8_t {
  kPolicyObjective = 0,  // its index in the oneof, and three options of it
  kPolicyKlCoefficient = 6,
  kPolicyKlEstimator = 7,
};

// A head, and what it takes and says.
struct ElementHeadFacts {
  ElementBody body[kComputes];
  bool targets;
  bool second;
  int extras;
  bool events;
};
inline constexpr int kMaxElementExtras = 3;

// A row for the head of a loss of whole rows, in double; all arrays have slack like scratch.
struct RowArrays {
  const double* x;
  const double* t;       // targets, or null
  const double* second;  // second predictions, or null
  const double* weight;  // w(k); null: all 1
  int64_t classes;
  int64_t label;         // of hard targets
  double target;         // of one target for each position
  const double* labels;  // of lists of labels
  int64_t label_count;
  const double* metric;  // [classes][classes], or null
  const double* options;
  Stop stop;
  double* slope;         // dl/dx, told
  double* second_slope;  // dl/dsecond, told by losses that have it
  double* terms;         // scratch
  double* scratch[4];
  bool* clamped;  // told where a value was not taken as it is; given as false
};
// Returns l; NaN where the row has none.
using RowBody = double (*)(const RowArrays& row);

// All pointers may be unaligned. `rows` rows lie one after the other, `classes` apart. Scratch
// (`e`, `c` and friends) is of the compute type and has kGroup elements of slack at its end.
struct KernelSet {
  const char* name;

  // Softmax, phase one. e[r][k] = e^(x_k - peak of its chunk) * ExpUnit, and per chunk
  // chunk_scale[r][chunk] = e^(peak of the chunk - peak of the row). peak and rest as RowSums.
  void (*reduce_rows[kReals])(const void* x, int64_t rows, int64_t classes, void* e,
                              double* chunk_scale, double* peak, double* rest, Stop stop);
  // Softmax, phase two: out[r][k] = e[r][k] * factor[r][chunk of k] (never -0). `streaming`, here
  // and below: `out` is written past the caches, for outputs too large to be found there again.
  void (*scale_rows[kComputes][kReals])(const void* e, const void* factor, int64_t rows,
                                        int64_t classes, bool streaming, void* out, Stop stop);
  // out[r][k] = e[r][k] * factor[r][chunk of k] - c[r][k] * minus[r].
  void (*scale_rows_minus[kComputes][kReals])(const void* e, const void* factor, const void* c,
                                              const void* minus, int64_t rows, int64_t classes,
                                              bool streaming, void* out, Stop stop);
  // Both phases of rows with one label each, bit for bit as above, each row scaled while the next
  // is reduced: out[r][k] = softmax_coefficient[r] * softmax(x)[r][k] in the format of x. Of
  // LabelledPositions `coefficient` is given; peak, rest and picked_exponential (0 where label[r] <
  // 0) are told. With a head (which may be null) `picked` is given, too, and all that follows is
  // told. Not for f64: null. out may be x. Rows of NaN are left to the caller: anything is written
  // there.
  void (*fused_rows[kReals])(const void* x, int64_t rows, int64_t classes,
                             const LabelledPositions& at, const SoftmaxHead* head,
                             const int32_t* label, bool streaming, const FusedScratch& scratch,
                             void* out, Stop stop);
  // Dense targets, one row; cap may be +inf (see DenseSums).
  DenseSums (*dense_sums[kReals])(const void* x, const void* c, int64_t classes, RowSums row,
                                  double log1p_rest, double cap, Stop stop);
  // Sum of c in the order of DenseSums::mass, to the bit.
  double (*mass[kComputes])(const void* c, int64_t classes, Stop stop);

  // What changed logits are kept relative to, per row, before scale and bias: about the largest,
  // where there is a scale or a bias, so that rounding does not see how far from 0 a row is.
  void (*logit_references[kReals])(const void* x, int64_t rows, int64_t classes,
                                   const LogitChange& change, double* reference, Stop stop);
  // z[r][k] less reference[r] * scale, and with a soft cap slope[r][k], its derivative without the
  // scale; both of the compute type. z and slope are scratch.
  void (*change_logits[kComputes][kReals])(const void* x, int64_t rows, int64_t classes,
                                           const LogitChange& change, const double* reference,
                                           void* z, void* slope, Stop stop);
  void (*scale_changed_row[kComputes][kReals])(const ChangedRow& row, int64_t classes,
                                               bool streaming, void* out, Stop stop);
  // Sum over a row of e^(x_k - peak) (peak - x_k), e and chunk_scale being as reduced; and the same
  // of the positions of a tile.
  double (*entropy_sum[kReals])(const void* x, const void* e, const double* chunk_scale,
                                int64_t classes, double peak, Stop stop);
  void (*entropy_tile[kReals])(int64_t classes, const TileInput& in, const void* e,
                               const double* peak, double* sum, Stop stop);
  // How many elements of a row are larger than that of `label`, or equal and before it; -1 where
  // there is a NaN.
  int64_t (*rank[kReals])(const void* x, int64_t classes, int64_t label, Stop stop);

  // The same two phases with lanes across positions, tile by tile. Phase one: e = e^(x - peak) *
  // ExpUnit, and of LabelledPositions what is known of each. Whether a `rest` is NaN.
  bool (*reduce_tile[kReals])(int64_t classes, const TileInput& in, const LabelledPositions& at,
                              void* e, Stop stop);
  void (*scale_tile[kComputes][kReals])(int64_t classes, const TileScale& tile, Stop stop);
  // Both, bit for bit as above, a block scaled and another one loaded while a third is reduced: the
  // gradient of the labelled positions, in the format of x. e is scratch of three blocks. Of
  // LabelledPositions `coefficient` is given; peak, rest and picked are told, and with a head
  // (which may be null) all that follows. to.out may be in.x.
  bool (*fused_tile[kReals])(int64_t classes, const TileInput& in, const LabelledPositions& at,
                             const SoftmaxHead* head, void* e, const TileOutput& to, Stop stop);

  // -log s_y = (peak - x_y) + log1p(rest): no cancellation, however certain the row is. Arrays have
  // slack like scratch.
  void (*labelled_losses)(const LabelledPositions& positions, int64_t count);
  // 1 - s_y as the sum of the other classes over the whole sum: label_gradient and scale, of a loss
  // without a head.
  void (*labelled_gradients)(const LabelledPositions& positions, int64_t count);
  // The same with one: peak, rest, picked, picked_exponential and coefficient are given; log1p_rest
  // and all that follows are told. The coefficient becomes NaN where a slope is, unless it is 0.
  void (*apply_head)(const SoftmaxHead& head, const LabelledPositions& positions, int64_t count);

  // SoftmaxHead::body of cross entropy with focal modulation and the square of the log-sum-exp:
  // l = w u^gamma min(-log s_y, cap) + zeta lse^2 with u = 1 - s_y.
  decltype(SoftmaxHead::body) label_head;
  // That of a policy loss, with the options of its head over log-probabilities.
  decltype(SoftmaxHead::body) policy_head;

  // out[i] = the label if 0 <= label < classes, kIgnoredLabel if it is *ignored (null: none is),
  // else kInvalidLabel.
  void (*read_labels[kWholes])(const void* labels, int64_t count, int32_t classes,
                               const int64_t* ignored, int32_t* out);
  // out[i] = x[i] * unit, of the compute type and made finite (see ToFinite).
  void (*narrow_finite[kComputes])(const double* x, int64_t count, double unit, void* out);
  // out[i] = value, 0 where label[i] < 0.
  void (*fill_counted)(const int32_t* label, double value, int64_t count, double* out);
  // terms[i] = scale * loss[i], 0 where label[i] < 0. The number of those.
  int64_t (*counted_terms)(const int32_t* label, const double* loss, double scale, int64_t count,
                           double* terms);
  // Two doubles that add up to the sum of `count` <= kMaxExactTerms terms, exactly. False if some
  // term is not finite or they differ too much in size (by 2^34) for that.
  bool (*exact_parts)(const double* terms, int64_t count, double parts[2]);

  // One dense row of the other losses, always in double. logistic: loss = -sum c log max(x,
  // epsilon), g = -c / max(x, epsilon). nll: loss = -sum c x, g = -c. Terms with c_k = 0 are left
  // out.
  PointwiseSums (*logistic_row[kReals])(const void* x, const double* c, int64_t classes,
                                        double epsilon, double* g, Stop stop);
  PointwiseSums (*nll_row[kReals])(const void* x, const double* c, int64_t classes, double* g,
                                   Stop stop);

  // The heads of heads-inl.h in their order.
  int element_heads;
  const ElementHeadFacts* elements;
  // out[i] = slope[i] * a[i], never -0; both of the compute type.
  void (*scale_elements[kComputes][kReals])(const void* slope, const void* a, int64_t count,
                                            bool streaming, void* out);

  // The heads of row_heads-inl.h in their order.
  const RowBody* row_heads;

  // Widening copies. Float targets of f64 sources are rounded.
  void (*widen[kComputes][kReals])(const void* x, int64_t count, void* out);

  // out[i] = log(x[i]), log1p(x[i]), x >= 0 or NaN. log(0) = -inf. At most 4 ulp.
  void (*log)(const double* x, int64_t count, double* out);
  void (*log1p)(const double* x, int64_t count, double* out);
  // out[i] = e^x[i].
  void (*exp)(const double* x, int64_t count, double* out);
  // out[i] = log(e^a[i] + e^b[i] + e^(c[i] + skip[i])), skip being 0 or -inf; -inf of nothing. No
  // argument is +inf.
  void (*log_add3)(const double* a, const double* b, const double* c, const double* skip,
                   int64_t count, double* out);
};

// The table of the active target (targets.h).
const KernelSet& Active();

}  // namespace lossd::kernels

#endif  // LOSSD_CORE_KERNELS_KERNELS_H_
