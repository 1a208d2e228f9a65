#include "tests/bits/requests.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/bits/geometry.h"
#include "tests/support/random.h"
#include "tests/support/real.h"

namespace lossd::bits {
namespace {

using oracle::Random;
using oracle::Real;

constexpr Real kInf = std::numeric_limits<Real>::infinity();
constexpr Real kNaN = std::numeric_limits<Real>::quiet_NaN();

v1::DType AnyFloat(Random& random) {
  return random.Pick({v1::DTYPE_F32, v1::DTYPE_F64, v1::DTYPE_F16, v1::DTYPE_BF16});
}

// The bytes of a tensor whose shape and dtype are set; elements in the order of memory.
template <class Value>
void Fill(v1::Tensor& tensor, Value value) {
  const auto dtype = static_cast<DType>(tensor.dtype());
  std::string& data = *tensor.mutable_data();
  data.resize(Product(tensor.shape()) * SizeOf(dtype));
  for (size_t at = 0; at < data.size(); at += SizeOf(dtype)) {
    oracle::Store(dtype, value(), reinterpret_cast<std::byte*>(data.data() + at));
  }
}

// What makes the request of one index.
class Maker {
 public:
  explicit Maker(int index) : random_(index) {}

  RecordedRequest Make() {
    MakeLoss();
    MakePredictions();
    MakeTargets();
    MakeClassWeights();
    if (random_.OneIn(4)) MakePerPosition(*request().mutable_position_weights(), 0, 2);
    if (random_.OneIn(4)) MakePerPosition(*request().mutable_upstream_gradient(), -2, 2);
    MakeOptions();
    MakeOutputs();
    made_.stream = random_.OneIn(2);
    if (made_.stream) Cut();
    return std::move(made_);
  }

 private:
  v1::ComputeRequest& request() { return made_.request; }
  v1::LossSpec& spec() { return *made_.request.mutable_spec(); }
  int64_t classes() const { return made_.request.predictions().shape(axis_); }

  void MakeLoss() {
    if (!random_.OneIn(2)) {
      spec().mutable_softmax();
      if (random_.OneIn(5)) spec().mutable_softmax()->set_log_floor(random_.Pick({1e-20, 0.01}));
    } else if (random_.OneIn(2)) {
      auto& loss = *spec().mutable_multinomial_logistic();
      if (random_.OneIn(2)) loss.set_log_epsilon(random_.Pick({0.0, 1e-3, 0.3}));
    } else {
      spec().mutable_nll();
    }
  }

  // Small shapes of any rank, rows of many classes, or many positions.
  void MakeShape(v1::Tensor& tensor) {
    const int rank = static_cast<int>(1 + random_.Below(4));
    axis_ = static_cast<int>(random_.Below(rank));
    for (int d = 0; d < rank; ++d) tensor.add_shape(1 + random_.Below(5));
    tensor.set_shape(axis_, random_.OneIn(3) ? 15 + random_.Below(20) : 1 + random_.Below(9));
    const int64_t kind = random_.Below(8);
    if (kind == 0) tensor.set_shape(axis_, random_.Pick({64, 100, 1000, 2047, 2048, 2049, 5000}));
    if (kind == 1 && rank > 1) {
      tensor.set_shape((axis_ + 1) % rank, 60 + random_.Below(200));
    }
    if (kind == 2 && rank > 1) tensor.set_shape(axis_ == rank - 1 ? 0 : rank - 1, 64);
    if (random_.OneIn(50) && rank > 1) tensor.set_shape((axis_ + 1) % rank, 0);
  }

  Real Ordinary() {
    if (spec().has_softmax()) return random_.Uniform(-8, 8);
    if (spec().has_nll()) return random_.Uniform(-10, 0);
    return random_.OneIn(16) ? Real(0) : random_.Uniform(0, 1);
  }

  void MakePredictions() {
    v1::Tensor& x = *request().mutable_predictions();
    x.set_dtype(AnyFloat(random_));
    column_major_ = random_.OneIn(3);
    MakeShape(x);
    SetLayout(x);
    const bool special = random_.OneIn(5);
    const bool ties = random_.OneIn(4);
    const Real scale = random_.OneIn(8) ? 100 : 1;
    Fill(x, [&]() -> Real {
      if (special && random_.OneIn(24)) {
        return random_.Pick<Real>({kNaN, kInf, -kInf, -kInf, -0.0L, 1e-42L, 6e4L, -3e38L});
      }
      const Real value = scale * Ordinary();
      return ties ? std::nearbyint(value) : value;
    });
  }

  void SetLayout(v1::Tensor& tensor) {
    if (column_major_) tensor.set_layout(v1::LAYOUT_COLUMN_MAJOR);
  }

  void MakeTargets() {
    if (random_.OneIn(4)) return MakeProbabilities();
    v1::Tensor& labels = *request().mutable_class_indices();
    labels.set_dtype(
        static_cast<v1::DType>(random_.OneIn(6) ? 1 + random_.Below(4) : 5 + random_.Below(8)));
    SetLabelShape(labels);
    SetLayout(labels);
    const bool is_unsigned = labels.dtype() >= v1::DTYPE_U8;
    const int64_t ignored = is_unsigned ? 100 : -100;
    const bool ignores = random_.OneIn(2);
    if (ignores) spec().add_ignore_labels(ignored);
    if (random_.OneIn(4)) spec().add_ignore_labels(1000);
    if (random_.OneIn(4)) spec().add_ignore_labels(0);
    const bool wrong = random_.OneIn(40);
    // Every label and an ignored one can be written in 8 bits.
    const int64_t below = std::min<int64_t>(classes(), 100);
    Fill(labels, [&]() -> Real {
      if (ignores && random_.OneIn(3)) return ignored;
      return wrong && random_.OneIn(8) ? classes() % 100 + 20 : random_.Below(below);
    });
  }

  void MakeProbabilities() {
    v1::Tensor& t = *request().mutable_class_probabilities();
    t.set_dtype(random_.OneIn(2) ? request().predictions().dtype() : AnyFloat(random_));
    *t.mutable_shape() = request().predictions().shape();
    SetLayout(t);
    const bool special = random_.OneIn(12);
    Fill(t, [&]() -> Real {
      if (special && random_.OneIn(20)) return random_.Pick<Real>({kNaN, kInf, -1});
      return random_.OneIn(3) ? Real(0) : random_.Uniform(0, 1);
    });
  }

  void SetLabelShape(v1::Tensor& tensor) {
    const bool removed = random_.OneIn(2);
    for (int d = 0; d < request().predictions().shape_size(); ++d) {
      if (d != axis_) tensor.add_shape(request().predictions().shape(d));
      if (d == axis_ && !removed) tensor.add_shape(1);
    }
  }

  void MakeClassWeights() {
    if (!random_.OneIn(4)) return;
    v1::Tensor& weights = *request().mutable_class_weights();
    weights.set_dtype(AnyFloat(random_));
    SetLayout(weights);
    const auto& shape = request().predictions().shape();
    const int64_t form = random_.Below(3);
    const int batch = column_major_ ? shape.size() - 1 : 0;
    for (int d = 0; d < shape.size(); ++d) {
      if (form == 0 && d != axis_) continue;
      if (form == 1 && d == batch && shape.size() > 1 && axis_ != batch) continue;
      weights.add_shape(shape[d]);
    }
    const bool zeros = form == 0 || random_.OneIn(2);
    bool first = true;
    Fill(weights, [&]() -> Real {
      const bool zero = zeros && !std::exchange(first, false) && random_.OneIn(5);
      return zero ? Real(0) : random_.Uniform(0.05L, 3);
    });
    if (random_.OneIn(2)) return;
    spec().set_weight_normalization(static_cast<v1::WeightNormalization>(1 + random_.Below(3)));
  }

  void MakePerPosition(v1::Tensor& tensor, Real low, Real high) {
    tensor.set_dtype(AnyFloat(random_));
    SetLabelShape(tensor);
    SetLayout(tensor);
    const bool special = low < 0 && random_.OneIn(8);
    Fill(tensor, [&]() -> Real {
      if (special && random_.OneIn(6)) return random_.Pick<Real>({kNaN, kInf, -kInf});
      return random_.OneIn(6) ? Real(0) : random_.Uniform(low, high);
    });
  }

  void MakeOptions() {
    const int rank = request().predictions().shape_size();
    const int usual = rank == 1 ? 0 : column_major_ ? rank - 2 : 1;
    if (axis_ != usual || random_.OneIn(2)) {
      spec().set_class_axis(random_.OneIn(2) ? axis_ : axis_ - rank);
    }
    if (random_.OneIn(5)) spec().set_label_smoothing(random_.Pick({0.1, 0.5, 0.999, 1e-6}));
    if (random_.OneIn(3)) spec().set_loss_weight(random_.Pick({0.25, 0.7, 3.0, 0.0}));
    if (random_.OneIn(3)) spec().set_gradient_scale(random_.Pick({-1.0, 1024.0, 0.3, -1e-3, 0.0}));
    if (random_.OneIn(3)) spec().set_gradient_dtype(AnyFloat(random_));
    if (random_.OneIn(2)) spec().set_reduction(static_cast<v1::Reduction>(1 + random_.Below(7)));
    const bool given = spec().reduction() == v1::REDUCTION_GIVEN;
    if (given || random_.OneIn(100)) spec().set_denominator(random_.Pick({7.0, 0.3, 1e3, 0.0}));
    if (random_.OneIn(3)) {
      spec().set_all_ignored_policy(static_cast<v1::AllIgnoredPolicy>(1 + random_.Below(3)));
    }
    if (random_.OneIn(5)) spec().set_non_finite_policy(v1::NON_FINITE_POLICY_ERROR);
  }

  void MakeOutputs() {
    if (random_.OneIn(3)) return;  // the gradient alone
    v1::Outputs& outputs = *spec().mutable_outputs();
    const bool softmax = spec().has_softmax() || random_.OneIn(50);
    if (random_.OneIn(4)) outputs.set_gradient(false);
    if (random_.OneIn(2)) outputs.set_position_losses(true);
    if (softmax && random_.OneIn(2)) outputs.set_log_sum_exp(true);
    if (random_.OneIn(2)) outputs.set_argmax_hits(true);
    if (softmax && random_.OneIn(3)) outputs.set_probabilities(true);
  }

  // Where the extents of a dimension of boxes begin, and its end.
  std::vector<int64_t> Borders(int64_t extent) {
    std::vector<int64_t> borders = {0, extent};
    for (int64_t i = random_.Below(3); i > 0 && extent > 1; --i) {
      borders.push_back(1 + random_.Below(extent - 1));
    }
    std::sort(borders.begin(), borders.end());
    borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
    return borders;
  }

  void Cut() {
    const Extents extents = ExtentsOf(request().predictions(), axis_);
    const std::vector<int64_t> outer = Borders(extents.outer);
    const std::vector<int64_t> inner = Borders(extents.inner);
    for (size_t o = 0; o + 1 < outer.size(); ++o) {
      for (size_t i = 0; i + 1 < inner.size(); ++i) {
        v1::Box box;
        box.set_outer_begin(outer[o]);
        box.set_outer_count(outer[o + 1] - outer[o]);
        box.set_inner_begin(inner[i]);
        box.set_inner_count(inner[i + 1] - inner[i]);
        made_.boxes.push_back(box);
      }
    }
    for (size_t i = made_.boxes.size(); i > 1; --i) {
      std::swap(made_.boxes[i - 1], made_.boxes[random_.Below(static_cast<int64_t>(i))]);
    }
    made_.boxes_in_header = random_.OneIn(3);
    if (made_.boxes_in_header && made_.boxes.size() > 1) made_.boxes.pop_back();
  }

  Random random_;
  RecordedRequest made_;
  int axis_ = 0;
  bool column_major_ = false;
};

}  // namespace

RecordedRequest MakeRequest(int index) { return Maker(index).Make(); }

std::string Describe(const RecordedRequest& recorded) {
  const v1::ComputeRequest& request = recorded.request;
  const v1::LossSpec& spec = request.spec();
  const char* loss = spec.has_softmax() ? "softmax"
                     : spec.has_nll()   ? "nll"
                                        : "multinomial_logistic";
  const v1::Tensor& x = request.predictions();
  return absl::StrCat(recorded.stream ? "stream " : "unary  ", loss, " ",
                      absl::AsciiStrToLower(v1::DType_Name(x.dtype()).substr(6)),
                      x.has_layout() ? " column-major [" : " [", absl::StrJoin(x.shape(), ","),
                      "]");
}

}  // namespace lossd::bits
