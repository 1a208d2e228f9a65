// StreamSession (and BoxCoverage in it) against a model that keeps one flag per position.
//   input: a header, then events of any kind with any numbers

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/calls/stream_session.h"
#include "tests/fuzz/input.h"

namespace lossd::fuzz {
namespace {

using State = StreamSession::State;
using wire::SideKind;

// What is streamed: f32 predictions [outer][classes][inner], row-major, the class axis in the
// middle, targets and whatever else comes whole. With `values` the loss is one over elements.
struct Scene {
  int64_t outer, classes, inner;
  bool values, probabilities, class_weights, position_weights, upstream, weight_sum;
  wire::Limits limits = {};
  std::vector<Box> boxes = {};

  bool targets_come_whole() const { return !values && (!probabilities || weight_sum); }
  int64_t positions() const { return outer * inner; }
  int64_t counted_positions() const { return positions() * (values ? classes : 1); }
};

int64_t NearlyBelow(Input& input, int64_t n) {
  return static_cast<int64_t>(input.Byte() % (n + 2));
}

Box AnyBox(Input& input, const Scene& scene) {
  if (input.Byte() % 16 == 15) {
    return {input.Integer(), input.Integer(), input.Integer(), input.Integer()};
  }
  return {NearlyBelow(input, scene.outer), NearlyBelow(input, scene.outer),
          NearlyBelow(input, scene.inner), NearlyBelow(input, scene.inner)};
}

Scene AnyScene(Input& input) {
  const uint8_t parts = input.Byte();
  Scene scene{.outer = input.Below(7),
              .classes = 1 + input.Below(3),
              .inner = input.Below(7),
              .values = (parts & 32) != 0,
              .probabilities = (parts & 1) != 0,
              .class_weights = (parts & 2) != 0,
              .position_weights = (parts & 4) != 0,
              .upstream = (parts & 8) != 0,
              .weight_sum = (parts & 16) != 0};
  if (scene.values) scene.probabilities = false;
  if (input.Byte() % 4 == 0) scene.limits.max_side_bytes = input.Byte();
  if (input.Byte() % 4 == 0) scene.limits.max_tensor_bytes = input.Byte();
  for (int64_t n = input.Byte() % 8 - 3; n > 0; --n) scene.boxes.push_back(AnyBox(input, scene));
  return scene;
}

LossTensorDescs Tensors(const Scene& scene) {
  const TensorDesc whole = {DType::kF32, {scene.outer, scene.classes, scene.inner}};
  const auto per_position = [&](DType dtype) {
    return scene.values ? TensorDesc{dtype, whole.shape}
                        : TensorDesc{dtype, {scene.outer, scene.inner}};
  };
  LossTensorDescs tensors;
  tensors.predictions = whole;
  tensors.target_kind =
      scene.probabilities ? TargetKind::kClassProbabilities : TargetKind::kClassIndices;
  if (scene.values) tensors.target_kind = TargetKind::kTargetValues;
  tensors.targets = scene.probabilities ? whole : per_position(DType::kI16);
  if (scene.class_weights) tensors.class_weights = TensorDesc{DType::kF64, {scene.classes}};
  if (scene.position_weights) tensors.position_weights = per_position(DType::kF32);
  if (scene.upstream) tensors.upstream_gradient = per_position(DType::kF16);
  return tensors;
}

// The protocol again: a flag per position, no trees, no early answers.
class Model {
 public:
  explicit Model(const Scene& scene) : scene_(scene) {}

  State state() const { return state_; }

  bool Header() {
    if (state_ != State::kHeader) return Refuse();
    boxes_ = scene_.boxes;
    for (const Box& box : boxes_) {
      if (!IsBox(box)) return Refuse();
    }
    if (boxes_.empty() && scene_.positions() > 0) {
      boxes_.push_back({0, scene_.outer, 0, scene_.inner});
    }
    // Which box a position belongs to.
    owner_.assign(scene_.positions(), -1);
    for (size_t i = 0; i < boxes_.size(); ++i) {
      for (const int64_t position : Positions(boxes_[i])) {
        if (owner_[position] >= 0) return Refuse();
        owner_[position] = static_cast<int>(i);
      }
    }
    arrived_.assign(scene_.positions(), false);
    const int64_t declared = scene_.positions() - std::count(owner_.begin(), owner_.end(), -1);
    if (declared * scene_.classes * 4 > scene_.limits.max_tensor_bytes) return Refuse();
    return ListSide();
  }

  bool Side(SideKind kind, int64_t offset, int64_t size) {
    if (state_ != State::kSide || kind != side_.front().first || offset != side_offset_ ||
        size < 1 || size > side_.front().second - side_offset_) {
      return Refuse();
    }
    side_offset_ += size;
    if (side_offset_ == side_.front().second) {
      side_.erase(side_.begin());
      side_offset_ = 0;
    }
    if (side_.empty()) state_ = State::kBlocks;
    return true;
  }

  bool Block(const Box& box, const BlockTensors<int64_t>& sizes) {
    if (state_ != State::kBlocks || !IsBox(box)) return Refuse();
    const int64_t elements = box.outer_count * box.inner_count * scene_.classes;
    const bool probabilities = scene_.probabilities && !scene_.targets_come_whole();
    if (sizes.predictions != elements * 4) return Refuse();
    if (sizes.class_probabilities != (probabilities ? elements * 4 : 0)) return Refuse();
    if (sizes.target_values != (scene_.values ? elements * 2 : 0)) return Refuse();
    const std::vector<int64_t> positions = Positions(box);
    for (const int64_t position : positions) {
      if (arrived_[position] || owner_[position] < 0) return Refuse();
      if (owner_[position] != owner_[positions[0]]) return Refuse();
    }
    for (const int64_t position : positions) arrived_[position] = true;
    ++computing_;
    return true;
  }

  bool End() {
    if (state_ != State::kBlocks) return Refuse();
    for (size_t i = 0; i < owner_.size(); ++i) {
      if (owner_[i] >= 0 && !arrived_[i]) return Refuse();
    }
    state_ = computing_ == 0 ? State::kDone : State::kDraining;
    return true;
  }

  bool Computed() {
    if (state_ == State::kRefused || computing_ == 0) return Refuse();
    ++computed_;
    if (--computing_ == 0 && state_ == State::kDraining) state_ = State::kDone;
    return true;
  }

  bool Refuse() {
    state_ = State::kRefused;
    return false;
  }

  int64_t computed() const { return computed_; }
  int64_t all_side_bytes() const { return all_side_bytes_; }

 private:
  bool IsBox(const Box& box) const {
    const auto inside = [](int64_t begin, int64_t count, int64_t extent) {
      return begin >= 0 && begin < extent && count >= 1 && count <= extent - begin;
    };
    return inside(box.outer_begin, box.outer_count, scene_.outer) &&
           inside(box.inner_begin, box.inner_count, scene_.inner);
  }

  std::vector<int64_t> Positions(const Box& box) const {
    std::vector<int64_t> positions;
    for (int64_t o = 0; o < box.outer_count; ++o) {
      for (int64_t i = 0; i < box.inner_count; ++i) {
        positions.push_back((box.outer_begin + o) * scene_.inner + box.inner_begin + i);
      }
    }
    return positions;
  }

  bool ListSide() {
    const int64_t positions = scene_.counted_positions();
    const auto add = [this](SideKind kind, bool there, int64_t bytes) {
      if (!there || bytes == 0) return;
      side_.push_back({kind, bytes});
      all_side_bytes_ += bytes;
    };
    add(SideKind::kClassWeights, scene_.class_weights, scene_.classes * 8);
    add(SideKind::kPositionWeights, scene_.position_weights, positions * 4);
    add(SideKind::kUpstreamGradient, scene_.upstream, positions * 2);
    add(SideKind::kTargets, scene_.targets_come_whole(),
        positions * (scene_.probabilities ? scene_.classes * 4 : 2));
    if (all_side_bytes_ > scene_.limits.max_side_bytes) return Refuse();
    state_ = side_.empty() ? State::kBlocks : State::kSide;
    return true;
  }

  const Scene& scene_;
  State state_ = State::kHeader;
  std::vector<Box> boxes_;
  std::vector<int> owner_;
  std::vector<bool> arrived_;
  std::vector<std::pair<SideKind, int64_t>> side_;
  int64_t side_offset_ = 0;
  int64_t all_side_bytes_ = 0;
  int64_t computing_ = 0;
  int64_t computed_ = 0;
};

class Play {
 public:
  Play(const Scene& scene, Input& input)
      : scene_(scene), input_(input), session_(scene.limits), model_(scene) {}

  void Run() {
    // Most plays begin as a call does.
    if (input_.Byte() % 8 != 7) Compare(Header(), model_.Header(), "header");
    for (int events = 0; events < 200 && !input_.empty(); ++events) Next();
  }

 private:
  absl::Status Header() {
    LossSpec spec;
    if (scene_.values) spec.loss = SquaredErrorLoss{};
    if (scene_.weight_sum) spec.reduction = Reduction::kWeightSum;
    return session_.OnHeader(spec, Tensors(scene_), scene_.boxes);
  }

  void Next() {
    switch (input_.Byte() % 8) {
      case 0:
        return Compare(Header(), model_.Header(), "header");
      case 1:
      case 2:
        return Side();
      case 3:
      case 4:
        return Block();
      case 5:
        return Compare(session_.OnEndOfUpload(), model_.End(), "end of upload");
      case 6: {
        PartialSums sums;
        sums.position_count = 1;
        return Compare(session_.OnBlockComputed(sums), model_.Computed(), "block computed");
      }
      default:
        if (input_.Byte() % 16 == 0) {
          Compare(session_.Refuse(absl::UnavailableError("outside")), model_.Refuse(), "refusal");
        }
    }
  }

  void Side() {
    const auto kind = static_cast<SideKind>(1 + input_.Below(4));
    const int64_t offset = input_.Byte() % 8 == 7 ? input_.Integer() : input_.Byte();
    const int64_t size = input_.Byte() % 8 == 7 ? input_.Integer() : input_.Byte();
    Compare(session_.OnSideData(kind, offset, size), model_.Side(kind, offset, size), "side data");
  }

  void Block() {
    const Box box = AnyBox(input_, scene_);
    // Sizes that fit, mostly; the products wrap where the box is no box.
    const uint64_t elements = static_cast<uint64_t>(box.outer_count) *
                              static_cast<uint64_t>(box.inner_count) *
                              static_cast<uint64_t>(scene_.classes);
    BlockTensors<int64_t> sizes;
    sizes.predictions = static_cast<int64_t>(elements * 4);
    if (scene_.probabilities && !scene_.targets_come_whole()) {
      sizes.class_probabilities = sizes.predictions;
    }
    if (scene_.values) sizes.target_values = static_cast<int64_t>(elements * 2);
    if (input_.Byte() % 8 == 7) sizes.predictions = input_.Integer();
    if (input_.Byte() % 8 == 7) sizes.class_probabilities = input_.Integer();
    if (scene_.values && input_.Byte() % 8 == 7) sizes.target_values = input_.Integer();
    Compare(session_.OnBlock(box, sizes), model_.Block(box, sizes), "block");
  }

  void Compare(const absl::Status& status, bool allowed, const char* event) {
    Require(status.ok() == allowed, absl::StrCat(event, ": ", status.ToString(),
                                                 "; the model says ", allowed ? "yes" : "no"));
    Require(session_.state() == model_.state(), absl::StrCat("the state after ", event));
    if (!refused_.ok()) Require(status == refused_, "the first refusal did not stand");
    if (refused_.ok()) refused_ = status;
    Require(session_.sums().position_count == model_.computed(),
            "blocks were lost or counted twice");
    if (session_.state() == State::kSide || session_.state() == State::kBlocks) {
      Require(session_.all_side_bytes() == model_.all_side_bytes(), "the size of the side tensors");
    }
  }

  const Scene& scene_;
  Input& input_;
  StreamSession session_;
  Model model_;
  absl::Status refused_;
};

}  // namespace

void TestOne(Input input) {
  const Scene scene = AnyScene(input);
  Play(scene, input).Run();
}

}  // namespace lossd::fuzz
