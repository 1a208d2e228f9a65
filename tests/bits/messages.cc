#include <algorithm>

#include "lossd/dtype.h"
#include "tests/bits/geometry.h"
#include "tests/bits/requests.h"

namespace lossd::bits {
namespace {

// Pieces of a side tensor: more than one where it is long.
constexpr size_t kPiece = 1000;

int AxisOf(const v1::ComputeRequest& request) {
  const int rank = request.predictions().shape_size();
  if (request.spec().has_class_axis()) {
    const int axis = request.spec().class_axis();
    return axis < 0 ? axis + rank : axis;
  }
  if (rank == 1) return 0;
  return request.predictions().layout() == v1::LAYOUT_COLUMN_MAJOR ? rank - 2 : 1;
}

bool TargetsComeWhole(const v1::ComputeRequest& request) {
  const v1::LossSpec& spec = request.spec();
  return request.has_class_indices() || spec.reduction() == v1::REDUCTION_WEIGHT_SUM ||
         (spec.reduction() == v1::REDUCTION_GIVEN && spec.denominator() == 0);
}

std::string Header(const RecordedRequest& recorded) {
  v1::ComputeStreamRequest part;
  v1::StreamHeader& header = *part.mutable_header();
  v1::ComputeRequest& request = *header.mutable_request();
  request = recorded.request;
  if (request.has_class_indices()) request.mutable_class_indices()->clear_data();
  if (request.has_class_probabilities()) request.mutable_class_probabilities()->clear_data();
  if (request.has_class_weights()) request.mutable_class_weights()->clear_data();
  if (request.has_position_weights()) request.mutable_position_weights()->clear_data();
  if (request.has_upstream_gradient()) request.mutable_upstream_gradient()->clear_data();
  request.mutable_predictions()->clear_data();
  if (recorded.boxes_in_header) {
    for (const v1::Box& box : recorded.boxes) *header.add_boxes() = box;
  }
  return part.SerializeAsString();
}

void AddSideData(v1::SideData::Kind kind, const std::string& data,
                 std::vector<std::string>& messages) {
  for (size_t at = 0; at < data.size(); at += kPiece) {
    v1::ComputeStreamRequest part;
    part.mutable_side_data()->set_kind(kind);
    part.mutable_side_data()->set_offset_bytes(static_cast<int64_t>(at));
    part.mutable_side_data()->set_data(data.substr(at, kPiece));
    messages.push_back(part.SerializeAsString());
  }
}

// [outer_count][classes][inner_count] of a tensor that lies as [outer][classes][inner].
std::string Packed(const v1::Tensor& tensor, const Extents& extents, const v1::Box& box) {
  const int64_t size = SizeOf(static_cast<DType>(tensor.dtype()));
  std::string packed;
  for (int64_t o = box.outer_begin(); o < box.outer_begin() + box.outer_count(); ++o) {
    for (int64_t k = 0; k < extents.classes; ++k) {
      const int64_t at = (o * extents.classes + k) * extents.inner + box.inner_begin();
      packed += tensor.data().substr(at * size, box.inner_count() * size);
    }
  }
  return packed;
}

std::string Block(const v1::ComputeRequest& request, const v1::Box& box) {
  const Extents extents = ExtentsOf(request.predictions(), AxisOf(request));
  v1::ComputeStreamRequest part;
  v1::PredictionBlock& block = *part.mutable_block();
  *block.mutable_box() = box;
  if (!TargetsComeWhole(request)) {
    block.set_class_probabilities(Packed(request.class_probabilities(), extents, box));
  }
  block.set_predictions(Packed(request.predictions(), extents, box));
  return part.SerializeAsString();
}

}  // namespace

std::vector<std::string> MessagesOf(const RecordedRequest& recorded) {
  const v1::ComputeRequest& request = recorded.request;
  if (!recorded.stream) return {request.SerializeAsString()};
  std::vector<std::string> messages = {Header(recorded)};
  AddSideData(v1::SideData::KIND_CLASS_WEIGHTS, request.class_weights().data(), messages);
  AddSideData(v1::SideData::KIND_POSITION_WEIGHTS, request.position_weights().data(), messages);
  AddSideData(v1::SideData::KIND_UPSTREAM_GRADIENT, request.upstream_gradient().data(), messages);
  if (TargetsComeWhole(request)) {
    const v1::Tensor& targets =
        request.has_class_indices() ? request.class_indices() : request.class_probabilities();
    AddSideData(v1::SideData::KIND_TARGETS, targets.data(), messages);
  }
  const Extents extents = ExtentsOf(request.predictions(), AxisOf(request));
  if (extents.outer * extents.inner == 0) return messages;
  for (const v1::Box& box : recorded.boxes) messages.push_back(Block(request, box));
  return messages;
}

}  // namespace lossd::bits
