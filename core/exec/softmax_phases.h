#ifndef LOSSD_CORE_EXEC_SOFTMAX_PHASES_H_
#define LOSSD_CORE_EXEC_SOFTMAX_PHASES_H_

#include <cstdint>
#include <optional>

#include "core/exec/box_job.h"
#include "core/exec/rows.h"

// What the runners of softmax share: heads, and softmax of rows in two phases, reduced to their
// sums and then scaled.

namespace lossd {

// Whether one pass over positions with one label each gives all that is wanted: it leaves neither
// exponentials nor, in place, predictions behind.
bool OnePassSuffices(const LossPlan& plan);

// The head of a loss with one label a position (RunState::softmax_head) for the loaded positions,
// if it has one.
std::optional<kernels::SoftmaxHead> HeadOf(const RunState& run, const Positions& positions);

// Loads such positions: a head may count what the label's weight does not.
void LoadLabelled(const RunState& run, int64_t first, int64_t count, Positions& positions);

// Adds at.loss, which a head made, or without one -log s_y, which is capped and weighted first.
void AddLabelledLosses(const BoxJob& job, const Positions& positions, int64_t output,
                       const kernels::LabelledPositions& at, UnitSums& unit);

// Adds what of these losses is z-loss: at.peak and at.log1p_rest are given.
void AddZLosses(const BoxJob& job, const Positions& positions, const kernels::LabelledPositions& at,
                UnitSums& unit);

// The exponentials of some rows and what belongs to them.
struct Reduced {
  void* e;
  double* chunk_scale;  // [rows][chunks]
  int64_t chunks;
  kernels::LabelledPositions at;  // peak, rest and log1p_rest are set
};

Reduced ReduceRows(const BoxJob& job, const Rows& rows, const kernels::LabelledPositions& at,
                   Workspace& work);
// Of logits in the format `real`, which is not that of the predictions.
Reduced ReduceLogits(const BoxJob& job, kernels::Real real, const void* logits, int64_t rows,
                     const kernels::LabelledPositions& at, Workspace& work);

// e^(x_k - peak) of one element.
double ExponentialAt(const BoxJob& job, const Reduced& reduced, int64_t row, int64_t k);

// Writes out[r][k] = coefficient[r] * softmax(x)[r][k] - minus[r] * c[r][k]; c and minus may be
// null.
void ScaleRows(const BoxJob& job, const Reduced& reduced, const double* coefficient, const void* c,
               const double* minus, int64_t rows, kernels::Real real, std::byte* out,
               Workspace& work);

// Whether scaling leaves a row of gradient wrong: exactly 0 is promised for a coefficient of 0, and
// a row of NaN has one and the same NaN throughout, whatever NaN it comes from.
inline bool IsLeftWrong(double coefficient, double rest) {
  return coefficient == 0 || coefficient != coefficient || rest != rest;
}
// What such a row has to be.
void FillGradientRow(const BoxJob& job, const Rows& rows, int64_t row, double coefficient);

void WriteProbabilities(const BoxJob& job, const Rows& rows, const Reduced& reduced,
                        Workspace& work);

// These outputs of some positions where they are wanted, of which the first is output `first`.
void WriteLabelLogProbabilities(const BoxJob& job, int64_t first, const Positions& positions,
                                const kernels::LabelledPositions& at);
// `sum` is that of KernelSet::entropy_sum.
void WriteEntropy(const BoxJob& job, int64_t output, double log1p_rest, double rest, double sum);
void WriteRank(const BoxJob& job, int64_t output, int64_t rank);

// What of these is made of whole rows; label(r) is the class of a row, below 0 if there is none.
void WriteRowEntropies(const BoxJob& job, const Rows& rows, const Reduced& reduced);
template <class Label>
void WriteRowRanks(const BoxJob& job, const Rows& rows, Label label) {
  if (!job.run.plan.outputs().label_rank) return;
  const kernels::Real real = job.run.real();
  for (int64_t r = 0; r < rows.count; ++r) {
    const int64_t y = label(r);
    const std::byte* x = rows.predictions + r * job.classes() * kernels::SizeOf(real);
    WriteRank(job, rows.first_output + r,
              y < 0 ? -1 : kernels::Active().rank[Index(real)](x, job.classes(), y, job.stop));
  }
}

// Log-sum-exps where they are wanted, and the count of rows that are not finite.
void WriteLogSumExps(const BoxJob& job, const Rows& rows, const kernels::LabelledPositions& at,
                     const Positions& positions, UnitSums& unit);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_SOFTMAX_PHASES_H_
