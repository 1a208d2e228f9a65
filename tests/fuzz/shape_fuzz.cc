// From bytes through decoding, StreamSession (plan and coverage) and LossRun::Prepare, with any
// shape: whatever is declared, memory and time follow the bytes that came.
//   input: a mode; a header made of choices, or messages as they are; then what follows the header

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/exec/loss_run.h"
#include "core/exec/working_memory.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/request_codec.h"
#include "server/admission/stream_cost.h"
#include "server/calls/side_buffers.h"
#include "server/calls/stream_session.h"
#include "tests/fuzz/input.h"
#include "tests/support/heap_meter.h"

namespace lossd::fuzz {
namespace {

using State = StreamSession::State;
using Part = v1::ComputeStreamRequest;

// What a call may take, beside so much for each byte that came.
constexpr int64_t kFreeBytes = 1 << 20;
constexpr int64_t kBytesPerByte = 100;
constexpr double kFreeSeconds = 0.5;  // with sanitizers; without, a hundredth would do
constexpr double kSecondsPerByte = 10e-6;

double ThreadSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Holds what a call takes against what came for it, from here to its end.
class Meter {
 public:
  Meter() : heap_(heap_meter::LiveBytes()), begun_(ThreadSeconds()) { Came(0); }
  ~Meter() { heap_meter::EndAbove(INT64_MAX); }
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

  void Came(size_t bytes) {
    came_ += static_cast<int64_t>(bytes);
    heap_meter::EndAbove(heap_ + kFreeBytes + kBytesPerByte * came_);
  }
  void Check() const {
    const double took = ThreadSeconds() - begun_;
    Require(took <= kFreeSeconds + kSecondsPerByte * static_cast<double>(came_),
            absl::StrCat(came_, " bytes took ", took, " s"));
  }

 private:
  const int64_t heap_;
  const double begun_;
  int64_t came_ = 0;
};

// One thread, which is the caller's: all time is its own.
Executor& OneThread() {
  static Executor executor(1);
  return executor;
}

wire::Message MessageOf(const std::string& bytes) {
  const auto kept = std::make_shared<const std::string>(bytes);
  return {ScatteredBytes(ByteSpan(reinterpret_cast<const std::byte*>(kept->data()), kept->size())),
          kept};
}

// A stream up to its blocks, as StreamCall has it.
class Stream {
 public:
  explicit Stream(Meter& meter) : meter_(meter) {}

  void Take(const std::string& bytes) {
    meter_.Came(bytes.size());
    absl::StatusOr<wire::DecodedStreamPart> part = wire::DecodeStreamRequest(MessageOf(bytes));
    if (part.ok()) {
      std::visit([this](auto&& decoded) { DealWith(std::move(decoded)); }, *std::move(part));
    }
    meter_.Check();
  }

  State state() const { return session_.state(); }

 private:
  void DealWith(wire::DecodedHeader header) {
    const absl::Status accepted =
        session_.OnHeader(header.request.spec, header.request.Descs(), std::move(header.boxes));
    if (!accepted.ok()) return;
    const StreamCost cost(session_.plan(), session_.declared_positions(), session_.all_side_bytes(),
                          WorkingBytes(session_.plan(), 2), 4);
    Require(cost.Initial(1 << 20) >= 0 && cost.upload_bytes() >= 0, "a cost overflowed");
    PrepareIfDue();
  }

  void DealWith(wire::DecodedSideData data) {
    if (!session_.OnSideData(data.kind, data.offset_bytes, data.data.size()).ok()) return;
    Require(side_.of(data.kind).Append(data.data, session_.side_bytes(data.kind)).ok(),
            "a side tensor was not taken");
    PrepareIfDue();
  }

  void DealWith(wire::DecodedBlock block) {
    static_cast<void>(session_.OnBlock(block.box, wire::SizesOf(block)));
  }

  void PrepareIfDue() {
    if (session_.state() != State::kBlocks) return;
    const auto run = LossRun::Prepare(session_.plan(), side_.Spans(), OneThread());
    Require(run.ok() || absl::IsInvalidArgument(run.status()), run.status().ToString());
  }

  Meter& meter_;
  StreamSession session_{wire::Limits()};
  SideBuffers side_;
};

// The same of one message.
void TakeWhole(const std::string& bytes, Meter& meter) {
  meter.Came(bytes.size());
  const auto request = wire::DecodeComputeRequest(MessageOf(bytes));
  if (!request.ok()) return;
  const auto plan = LossPlan::Make(request->spec, request->Descs());
  if (!plan.ok()) return;
  const auto bytes_of = [](const std::optional<wire::WireTensor>& tensor) {
    if (!tensor || tensor->data.size() == 0) return ByteSpan();
    return tensor->data.pieces().front();
  };
  const SideBytes side = {
      .targets = plan->targets_come_whole() ? bytes_of(request->tensors.targets) : ByteSpan(),
      .class_weights = bytes_of(request->tensors.class_weights),
      .position_weights = bytes_of(request->tensors.position_weights),
      .upstream_gradient = bytes_of(request->tensors.upstream_gradient)};
  Require(WorkingBytes(*plan, 2) >= 0, "a cost overflowed");
  const auto run = LossRun::Prepare(*plan, side, OneThread());
  Require(run.ok() || absl::IsInvalidArgument(run.status()), run.status().ToString());
  meter.Check();
}

// ------------------------------------------------------------------------------ made of choices

int64_t Extent(Input& input) {
  switch (input.Byte() % 4) {
    case 0:
      return input.Below(5);
    case 1:
      return 1;
    case 2:
      return int64_t{1} << input.Below(60);
    default:
      return static_cast<int64_t>(input.Number(3));
  }
}

using Shape = std::vector<int64_t>;

void Describe(v1::Tensor* tensor, Input& input, const Shape& shape, bool column_major) {
  constexpr v1::DType kFloating[] = {v1::DTYPE_F32, v1::DTYPE_F64, v1::DTYPE_F16, v1::DTYPE_BF16};
  tensor->set_dtype(kFloating[input.Below(4)]);
  for (const int64_t extent : shape) tensor->add_shape(extent);
  if (column_major) tensor->set_layout(v1::LAYOUT_COLUMN_MAJOR);
}

// Boxes of a regular kind, as many as there may be; a step through either dimension.
void AddBoxes(Input& input, v1::StreamHeader& header) {
  if (input.Byte() % 4 != 3) return;
  const int64_t count = 1 + input.Below(4096);
  const int64_t outer_step = int64_t{1} << input.Below(50) >> 1;
  const int64_t inner_step = int64_t{1} << input.Below(50) >> 1;
  const int64_t outer_count = 1 + input.Below(256);
  const int64_t shorter = input.Below(3);
  for (int64_t i = 0; i < count; ++i) {
    v1::Box* const box = header.add_boxes();
    box->set_outer_begin(i * outer_step);
    box->set_outer_count(shorter == 0 ? outer_count : (count - i) * shorter);
    box->set_inner_begin(i * inner_step);
    box->set_inner_count(1);
  }
}

// A header that mostly fits together, whatever its extents.
Part AnyHeader(Input& input) {
  const uint8_t parts = input.Byte();
  const uint8_t loss = input.Byte();
  const bool column_major = (parts & 32) != 0;
  const bool of_elements = (parts & 64) != 0;
  Shape shape;
  for (int64_t rank = 1 + input.Below(4); rank > 0; --rank) shape.push_back(Extent(input));
  const auto axis = static_cast<int>(input.Below(static_cast<int64_t>(shape.size())));
  Shape labels = shape;
  if (!of_elements) labels.erase(labels.begin() + axis);

  Part part;
  v1::ComputeRequest& request = *part.mutable_header()->mutable_request();
  v1::LossSpec& spec = *request.mutable_spec();
  spec.set_class_axis(axis);
  const auto* const losses = v1::LossSpec::descriptor()->FindOneofByName("loss");
  spec.GetReflection()->MutableMessage(&spec, losses->field(loss % losses->field_count()));
  if (of_elements && (loss & 16) == 0) spec.mutable_squared_error();
  if ((loss & 8) != 0) spec.set_reduction(v1::REDUCTION_VALID);
  if ((parts & 16) != 0) spec.set_reduction(v1::REDUCTION_WEIGHT_SUM);
  const auto describe = [&](v1::Tensor* tensor, const Shape& extents) {
    Describe(tensor, input, extents, column_major);
  };
  describe(request.mutable_predictions(), shape);
  if (of_elements) {
    describe(request.mutable_target_values(), shape);
  } else if ((parts & 1) != 0) {
    describe(request.mutable_class_probabilities(), shape);
  } else {
    describe(request.mutable_class_indices(), labels);
    request.mutable_class_indices()->set_dtype(input.Flag() ? v1::DTYPE_I8 : v1::DTYPE_U64);
    for (int64_t count = input.Below(4); count > 0; --count) spec.add_ignore_labels(-count);
  }
  if ((parts & 2) != 0) {
    Shape weights = {shape[axis]};
    if (const uint8_t which = input.Byte() % 3; which > 0) {
      weights = shape;
      if (which == 2) weights.erase(column_major ? weights.end() - 1 : weights.begin());
    }
    describe(request.mutable_class_weights(), weights);
    spec.set_weight_normalization(static_cast<v1::WeightNormalization>(1 + input.Below(3)));
  }
  if ((parts & 4) != 0) describe(request.mutable_position_weights(), labels);
  if ((parts & 8) != 0) describe(request.mutable_upstream_gradient(), labels);
  AddBoxes(input, *part.mutable_header());
  return part;
}

// What may follow a header; tensor bytes are those of the input.
Part AnyPart(Input& input) {
  Part part;
  if (input.Byte() % 4 != 3) {
    v1::SideData& side = *part.mutable_side_data();
    side.set_kind(static_cast<v1::SideData::Kind>(1 + input.Below(4)));
    side.set_offset_bytes(input.Byte());
    side.set_data(input.Bytes(input.Byte()));
    return part;
  }
  v1::PredictionBlock& block = *part.mutable_block();
  block.mutable_box()->set_outer_begin(input.Integer());
  block.mutable_box()->set_outer_count(input.Integer());
  block.mutable_box()->set_inner_begin(input.Integer());
  block.mutable_box()->set_inner_count(input.Integer());
  block.set_predictions(input.Bytes(input.Byte()));
  block.set_class_probabilities(input.Bytes(input.Byte()));
  block.set_target_values(input.Bytes(input.Byte()));
  return part;
}

}  // namespace

void TestOne(Input input) {
  OneThread();
  const uint8_t mode = input.Byte() % 4;
  Meter meter;
  if (mode == 3) return TakeWhole(input.Rest(), meter);
  Stream stream(meter);
  if (mode == 2) {
    while (!input.empty()) stream.Take(input.Bytes(input.Number(2)));
    return;
  }
  stream.Take(AnyHeader(input).SerializeAsString());
  while (!input.empty()) stream.Take(AnyPart(input).SerializeAsString());
}

}  // namespace lossd::fuzz
