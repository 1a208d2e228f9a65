#include "lossd/shapes.h"

#include <utility>
#include <variant>

namespace lossd {
namespace {

int64_t Product(absl::Span<const int64_t> extents) {
  int64_t product = 1;
  for (const int64_t extent : extents) product *= extent;
  return product;
}

}  // namespace

std::optional<int> ClassAxis(std::optional<int> wanted, const TensorDesc& predictions) {
  const int rank = static_cast<int>(predictions.shape.size());
  const int row_major = rank == 1 ? 0 : 1;
  const int column_major = rank == 1 ? 0 : rank - 2;
  if (!wanted && rank > 0) {
    return predictions.layout == Layout::kRowMajor ? row_major : column_major;
  }
  if (!wanted || *wanted < -rank || *wanted >= rank) return std::nullopt;
  return *wanted < 0 ? *wanted + rank : *wanted;
}

int BatchAxis(const TensorDesc& predictions) {
  return predictions.layout == Layout::kRowMajor ? 0
                                                 : static_cast<int>(predictions.shape.size()) - 1;
}

Extents ExtentsOf(const TensorDesc& predictions, int class_axis) {
  const absl::Span<const int64_t> shape = predictions.shape;
  Extents extents = {Product(shape.first(class_axis)), shape[class_axis],
                     Product(shape.subspan(class_axis + 1))};
  if (predictions.layout == Layout::kColumnMajor) std::swap(extents.outer, extents.inner);
  return extents;
}

std::vector<int64_t> Without(absl::Span<const int64_t> shape, int axis) {
  std::vector<int64_t> rest(shape.begin(), shape.end());
  rest.erase(rest.begin() + axis);
  return rest;
}

bool IsLabelShape(absl::Span<const int64_t> shape, absl::Span<const int64_t> predictions,
                  int class_axis) {
  const bool kept = shape.size() == predictions.size() && shape[class_axis] == 1;
  return (kept || shape.size() + 1 == predictions.size()) &&
         shape.first(class_axis) == predictions.first(class_axis) &&
         shape.subspan(class_axis + (kept ? 1 : 0)) == predictions.subspan(class_axis + 1);
}

namespace {

std::optional<std::vector<int64_t>> SequencesShape(const CtcLoss& loss,
                                                   const TensorDesc& predictions, int class_axis) {
  const std::optional<int> time_axis =
      loss.time_axis ? ClassAxis(loss.time_axis, predictions) : std::nullopt;
  const size_t rank = predictions.shape.size();
  if (!time_axis || *time_axis == class_axis || (rank != 2 && rank != 3)) return std::nullopt;
  const int sequence_axis = 3 - *time_axis - class_axis;
  return std::vector<int64_t>{rank == 3 ? predictions.shape[sequence_axis] : 1};
}

std::optional<std::vector<int64_t>> GroupsShape(const TverskyLoss& loss,
                                                const TensorDesc& predictions, int class_axis) {
  const int64_t classes = predictions.shape[class_axis];
  if (loss.group == Grouping::kBatch) return std::vector<int64_t>{classes};
  const bool one_sample = predictions.shape.size() == 1;
  const int batch_axis = BatchAxis(predictions);
  if (!one_sample && batch_axis == class_axis) return std::nullopt;
  const int64_t samples = one_sample ? 1 : predictions.shape[batch_axis];
  if (predictions.layout == Layout::kColumnMajor) return std::vector<int64_t>{classes, samples};
  return std::vector<int64_t>{samples, classes};
}

}  // namespace

std::optional<std::vector<int64_t>> GroupedShape(const Loss& loss, const TensorDesc& predictions,
                                                 int class_axis) {
  if (const auto* const ctc = std::get_if<CtcLoss>(&loss)) {
    return SequencesShape(*ctc, predictions, class_axis);
  }
  if (const auto* const tversky = std::get_if<TverskyLoss>(&loss)) {
    return GroupsShape(*tversky, predictions, class_axis);
  }
  return std::nullopt;
}

}  // namespace lossd
