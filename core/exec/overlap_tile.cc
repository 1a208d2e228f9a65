#include "core/exec/overlap_tile.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <variant>
#include <vector>

#include "core/exec/visit_elements.h"

namespace lossd {
namespace {

using kernels::Compute;

constexpr int64_t kTileNumbers = int64_t{1} << 13;
constexpr int64_t kMostPlaces = 512;
constexpr int kClassArrays = 4;  // p, rest, t, slope
constexpr int kPlaceArrays = 4;  // weight, peak, sum, factor

const TverskyLoss& OptionsOf(const BoxJob& job) {
  return std::get<TverskyLoss>(job.run.plan.spec().loss);
}

// `rows` rows of `columns` numbers, turned around.
void Transpose(const double* from, int64_t rows, int64_t columns, double* to) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
  }
}

}  // namespace

int64_t OverlapTile::MostPlaces(int64_t classes) {
  return std::clamp<int64_t>(kTileNumbers / classes, 1, kMostPlaces);
}

int64_t OverlapTile::Bytes(const LossPlan& plan) {
  const int64_t places = MostPlaces(plan.classes());
  const int64_t numbers = places * plan.classes();
  // Beside the arrays: elements as they were gathered, and turned around.
  return 8 * (numbers * (kClassArrays + 3) + places * kPlaceArrays) + kSlackBytes;
}

void OverlapTile::Open(int64_t position, int64_t count) {
  position_ = position;
  count_ = count;
  const int64_t classes = job_.classes();
  const int64_t stride = count * classes + kernels::kGroup;
  double* at =
      work_.exact.Get<double>(kClassArrays * stride + kPlaceArrays * (count + kernels::kGroup));
  for (double** array : {&p_, &rest_, &t_, &slope_}) {
    *array = at;
    at += stride;
  }
  for (double** array : {&weight_, &peak_, &sum_, &factor_}) {
    *array = at;
    at += count + kernels::kGroup;
  }
  Read(job_.in.predictions, job_.run.plan.dtype(), p_);
  ReadTargets();
  ReadWeights();
  switch (OptionsOf(job_).activation) {
    case Activation::kSoftmax:
      FindSoftmax();
      break;
    case Activation::kSigmoid:
      FindLogistic();
      break;
    case Activation::kNone:
      for (int64_t e = 0; e < count_ * classes; ++e) rest_[e] = 1 - p_[e];
      break;
  }
}

void OverlapTile::Read(const ScatteredBytes& source, DType dtype, double* out) {
  const int64_t inner = job_.run.plan.inner();
  const int64_t classes = job_.classes();
  const int64_t size = SizeOf(dtype);
  const auto widen = kernels::Active().widen[Index(Compute::kDouble)][Index(RealOf(dtype))];
  auto* const bytes = work_.gathered.Get<std::byte>(count_ * classes * size);
  if (inner == 1) {
    source.CopyTo(position_ * classes * size, count_ * classes * size, bytes);
    auto* const rows = work_.wide_row.Get<double>(count_ * classes);
    widen(bytes, count_ * classes, rows);
    Transpose(rows, count_, classes, out);
    return;
  }
  const int64_t o = position_ / inner;
  const int64_t i = position_ % inner;
  for (int64_t k = 0; job_.GoesOn(k); ++k) {
    source.CopyTo(((o * classes + k) * inner + i) * size, count_ * size, bytes + k * count_ * size);
  }
  widen(bytes, count_ * classes, out);
}

void OverlapTile::ReadTargets() {
  const RunState& run = job_.run;
  const DType dtype = run.plan.tensors().targets.dtype;
  if (!run.hard_targets()) {
    if (run.plan.targets_come_whole()) {
      Read(ScatteredBytes(run.side.targets), dtype, t_);
    } else {
      Read(job_.in.class_probabilities, dtype, t_);
    }
    std::fill_n(weight_, count_, 1.0);
    return;
  }
  std::vector<int32_t> labels(count_ + kernels::kGroup);
  run.labels.Read(position_, count_, labels.data());
  std::fill_n(t_, count_ * job_.classes(), 0.0);
  for (int64_t j = 0; j < count_; ++j) {
    weight_[j] = labels[j] < 0 ? 0 : 1;
    if (labels[j] >= 0) t_[labels[j] * count_ + j] = 1;
  }
}

void OverlapTile::ReadWeights() {
  if (!job_.run.plan.tensors().position_weights) return;
  for (int64_t j = 0; j < count_; ++j) {
    if (weight_[j] != 0) weight_[j] = job_.run.PositionWeight(position_ + j);
  }
}

// The largest class of a place has 1 - p from the sum of the others, since it may be close to 1.
void OverlapTile::FindSoftmax() {
  const int64_t classes = job_.classes();
  std::fill_n(peak_, count_, -std::numeric_limits<double>::infinity());
  std::fill_n(sum_, count_, 0.0);
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t j = 0; j < count_; ++j) peak_[j] = std::max(peak_[j], p(k)[j]);
  }
  double* const x = slope_;
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t j = 0; j < count_; ++j) x[k * count_ + j] = p(k)[j] - peak_[j];
  }
  kernels::Active().exp(x, count_ * classes, p_);
  // Of equal ones the first is the largest; its exponential is 1.
  std::fill_n(factor_, count_, -1.0);
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t j = 0; j < count_; ++j) {
      const bool largest = factor_[j] < 0 && x[k * count_ + j] == 0;
      if (largest) factor_[j] = static_cast<double>(k);
      sum_[j] += largest ? 0 : p(k)[j];
    }
  }
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t j = 0; j < count_; ++j) {
      const double whole = 1 + sum_[j];
      const bool largest = factor_[j] == static_cast<double>(k);
      const double share = p(k)[j] / whole;
      rest_[k * count_ + j] = largest ? sum_[j] / whole : 1 - share;
      p_[k * count_ + j] = share;
    }
  }
}

void OverlapTile::FindLogistic() {
  const int64_t count = count_ * job_.classes();
  for (int64_t e = 0; e < count; ++e) slope_[e] = -std::fabs(p_[e]);
  kernels::Active().exp(slope_, count, rest_);
  for (int64_t e = 0; e < count; ++e) {
    const double larger = 1 / (1 + rest_[e]);
    const double smaller = rest_[e] * larger;
    const bool negative = p_[e] < 0;
    p_[e] = negative ? smaller : larger;
    rest_[e] = negative ? larger : smaller;
  }
}

// dl/dx_k = p_k (g_k - sum_j p_j g_j).
void OverlapTile::TurnSoftmax() {
  const int64_t classes = job_.classes();
  std::fill_n(sum_, count_, 0.0);
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t j = 0; j < count_; ++j) sum_[j] += p(k)[j] * slope(k)[j];
  }
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t j = 0; j < count_; ++j) slope(k)[j] = p(k)[j] * (slope(k)[j] - sum_[j]);
  }
}

void OverlapTile::Close() {
  const int64_t classes = job_.classes();
  const int64_t inner = job_.run.plan.inner();
  const int64_t numbers = count_ * classes;
  const Activation activation = OptionsOf(job_).activation;
  if (activation == Activation::kSoftmax) TurnSoftmax();
  if (activation == Activation::kSigmoid) {
    for (int64_t e = 0; e < numbers; ++e) slope_[e] *= p_[e] * rest_[e];
  }
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t j = 0; j < count_; ++j) {
      // What weighs nothing has no gradient, be its slope infinite or NaN.
      if (weight_[j] == 0) slope(k)[j] = 0;
    }
  }
  const kernels::Real real = job_.run.gradient_real();
  const int64_t size = kernels::SizeOf(real);
  const auto store = kernels::Active().scale_elements[Index(Compute::kDouble)][Index(real)];
  std::fill_n(p_, numbers, 1.0);
  if (inner == 1) {
    auto* const rows = work_.wide_row.Get<double>(numbers);
    Transpose(slope_, classes, count_, rows);
    store(rows, p_, numbers, /*streaming=*/false,
          job_.out.gradient.data() + position_ * classes * size);
    return;
  }
  const int64_t o = position_ / inner;
  const int64_t i = position_ % inner;
  for (int64_t k = 0; k < classes; ++k) {
    store(slope(k), p_, count_, /*streaming=*/false,
          job_.out.gradient.data() + ((o * classes + k) * inner + i) * size);
  }
}

}  // namespace lossd
