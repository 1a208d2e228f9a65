#include "core/plan/label_lists.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/checks.h"
#include "lossd/shapes.h"
#include "lossd/status_macros.h"

namespace lossd::plan {
namespace {

// The largest K beside sparse_probabilities: of more labels, class probabilities cost less.
constexpr int64_t kMaxSparse = 1024;

// "[2,3,K] with K in 1..10".
std::string WantedShape(const std::vector<int64_t>& places, int64_t most) {
  std::string wanted = places.empty() ? "[K" : ShapeString(places);
  if (!places.empty()) {
    wanted.back() = ',';
    wanted += "K";
  }
  return absl::StrCat(wanted, "] with K in 1..", most);
}

}  // namespace

absl::StatusOr<int64_t> CheckLabelLists(const LossTensorDescs& tensors, const Geometry& geometry) {
  if (tensors.target_kind != TargetKind::kClassIndices) {
    return Refuse("sparse_probabilities", "given", "none unless class_indices are given");
  }
  const bool sparse = tensors.sparse_probabilities.has_value();
  const int64_t most = sparse ? kMaxSparse : geometry.classes;
  const TensorDesc& labels = tensors.targets;
  const std::vector<int64_t> places = Without(tensors.predictions.shape, geometry.class_axis);
  std::vector<int64_t> shape = places;
  shape.push_back(labels.shape.empty() ? 0 : labels.shape.back());
  const int64_t slots = shape.back();
  const int64_t positions =
      std::max<int64_t>(1, geometry.outer) * std::max<int64_t>(1, geometry.inner);
  if (labels.shape != shape || slots < 1 || slots > most || positions > kMaxElements / slots) {
    return RefuseShape("class_indices.shape", labels.shape,
                       absl::StrCat(WantedShape(places, most),
                                    sparse ? ", since sparse_probabilities are given" : ""));
  }
  LOSSD_RETURN_IF_ERROR(CheckDTypeKnown("class_indices.dtype", labels.dtype));
  LOSSD_RETURN_IF_ERROR(CheckLayout("class_indices.layout", labels, tensors.predictions));
  if (!sparse) return slots;
  const TensorDesc& shares = *tensors.sparse_probabilities;
  LOSSD_RETURN_IF_ERROR(CheckFloating("sparse_probabilities.dtype", shares.dtype));
  LOSSD_RETURN_IF_ERROR(CheckLayout("sparse_probabilities.layout", shares, tensors.predictions));
  if (shares.shape == labels.shape) return slots;
  return RefuseShape("sparse_probabilities.shape", shares.shape,
                     absl::StrCat("the shape of class_indices, ", ShapeString(labels.shape)));
}

}  // namespace lossd::plan
