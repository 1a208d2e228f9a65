#include "tests/support/oracle_weights.h"

namespace lossd::oracle {

ClassWeights::ClassWeights(const LossSpec& spec, const Geometry& geometry,
                           const std::optional<TensorView>& weights)
    : geometry_(geometry), weights_(weights) {
  if (!weights) return;
  normalization_ = spec.weight_normalization.value_or(WeightNormalization::kLocal);
  const std::vector<int64_t>& shape = weights->desc.shape;
  if (shape == std::vector<int64_t>{geometry.classes()}) {
    form_ = Form::kPerClass;
  } else if (shape == geometry.shape) {
    form_ = Form::kFull;
  } else {
    form_ = Form::kOneSample;
  }
  if (normalization_ != WeightNormalization::kGlobal || form_ == Form::kPerClass) return;
  sample_sums_.resize(geometry.shape[geometry.batch_axis]);
  for (const Index& index : AllIndices(geometry.shape)) {
    sample_sums_[index[geometry.batch_axis]] += Raw(index);
  }
}

std::vector<Real> ClassWeights::At(const Index& position) const {
  std::vector<Real> at(geometry_.classes(), Real(1));
  if (form_ == Form::kNone) return at;
  Index index = position;
  for (int64_t& k = index[geometry_.class_axis]; k < geometry_.classes(); ++k) at[k] = Raw(index);
  if (normalization_ == WeightNormalization::kNone) return at;
  const Real count = Count();
  const Real sum = Sum(position);
  for (Real& weight : at) weight = weight * count / sum;
  return at;
}

Real ClassWeights::Raw(const Index& index) const {
  int64_t address = index[geometry_.class_axis];
  if (form_ == Form::kFull) {
    address = Address(index, weights_->desc.shape, weights_->desc.layout);
  } else if (form_ == Form::kOneSample) {
    address =
        Address(Without(index, geometry_.batch_axis), weights_->desc.shape, weights_->desc.layout);
  }
  const DType dtype = weights_->desc.dtype;
  return Widen(dtype, weights_->bytes.data() + address * SizeOf(dtype));
}

Real ClassWeights::Count() const {
  if (sample_sums_.empty()) return geometry_.classes();
  Real count = 1;
  for (size_t d = 0; d < geometry_.shape.size(); ++d) {
    if (static_cast<int>(d) != geometry_.batch_axis) count *= geometry_.shape[d];
  }
  return count;
}

Real ClassWeights::Sum(const Index& position) const {
  if (!sample_sums_.empty()) return sample_sums_[position[geometry_.batch_axis]];
  Real sum = 0;
  Index index = position;
  for (int64_t& k = index[geometry_.class_axis]; k < geometry_.classes(); ++k) sum += Raw(index);
  return sum;
}

}  // namespace lossd::oracle
