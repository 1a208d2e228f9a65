// What one call makes the server take, against what was sent for it: hostile values in every field
// of a message and of a stream's parts, found by reflection (hostile_fields.h), and shapes that are
// right and as costly as can be.
#include <time.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/faults/hostile_fields.h"
#include "tests/faults/row.h"

namespace lossd {
namespace {

using hostile::Path;
using hostile::Value;
using testing::Problem;
using Part = v1::ComputeStreamRequest;
using Parts = std::vector<Part>;

// The red line: a hundred times what was sent, beside so much for any call. A byte of time is what
// a byte of an ordinary request takes, from the network to the answer, on this machine.
constexpr double kTimes = 100;
constexpr double kTimesLanes = 400;
constexpr int64_t kFreeHeapBytes = 4 << 20;
constexpr double kFreeSeconds = 0.05;

struct Cost {
  int64_t sent = 0;
  int64_t heap = 0;
  double seconds = 0;
};

class MeteredServer {
 public:
  MeteredServer() : process_({LOSSD_METERED_SERVER}), line_(process_.ReadLine().value_or("")) {
    clock_getcpuclockid(process_.pid(), &clock_);
    stub_ = v1::LossService::NewStub(testing::Connect(line_.substr(line_.rfind(' ') + 1)));
  }

  v1::LossService::Stub& stub() { return *stub_; }

  // Of `call`, which returns how many bytes it sent, once its status has come.
  template <class Call>
  Cost Of(Call call) {
    const int64_t before = Heap().live;
    const double begun = Seconds();
    Cost cost;
    cost.sent = call();
    cost.seconds = Seconds() - begun;
    cost.heap = Heap().peak - before;
    return cost;
  }

 private:
  struct Heap {
    int64_t live = -1;
    int64_t peak = -1;
  };

  // The most since the last time.
  Heap Heap() {
    process_.Signal(SIGUSR1);
    std::istringstream words(process_.ReadLine().value_or(""));
    struct Heap heap;
    EXPECT_TRUE(words >> heap.live >> heap.peak) << "the server is gone";
    return heap;
  }

  double Seconds() const {
    timespec now{};
    clock_gettime(clock_, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  }

  Process process_;
  const std::string line_;
  clockid_t clock_{};
  std::unique_ptr<v1::LossService::Stub> stub_;
};

int64_t Send(v1::LossService::Stub& stub, const v1::ComputeRequest& request) {
  grpc::ClientContext context;
  v1::ComputeResponse response;
  const grpc::Status status = stub.Compute(&context, request, &response);
  EXPECT_NE(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
  EXPECT_NE(status.error_code(), grpc::StatusCode::INTERNAL) << status.error_message();
  return static_cast<int64_t>(request.ByteSizeLong());
}

int64_t Send(v1::LossService::Stub& stub, const Parts& parts) {
  grpc::ClientContext context;
  const auto stream = stub.ComputeStream(&context);
  int64_t sent = 0;
  for (const Part& part : parts) {
    sent += static_cast<int64_t>(part.ByteSizeLong());
    if (!stream->Write(part)) break;
  }
  stream->WritesDone();
  for (v1::ComputeStreamResponse answer; stream->Read(&answer);) {
  }
  const grpc::Status status = stream->Finish();
  EXPECT_NE(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
  EXPECT_NE(status.error_code(), grpc::StatusCode::INTERNAL) << status.error_message();
  return sent;
}

// Class probabilities in place of labels, and no other side tensors: nothing comes whole.
v1::ComputeRequest Soft(v1::ComputeRequest request) {
  *request.mutable_class_probabilities() = request.predictions();
  request.clear_position_weights();
  return request;
}

Parts HardStream(const Problem& p) {
  return {p.Header(), p.Weights(), p.Labels(), p.Block(0, p.rows)};
}

Parts SoftStream(const Problem& p) {
  Parts parts = {p.Header(), p.Block(0, p.rows)};
  v1::ComputeRequest& request = *parts[0].mutable_header()->mutable_request();
  request = Soft(request);
  v1::PredictionBlock& block = *parts[1].mutable_block();
  block.set_class_probabilities(block.predictions());
  return parts;
}

class Amplification : public ::testing::Test {
 protected:
  Amplification() {
    // Ordinary: twenty requests of 1 MB, of which the first is not counted.
    const v1::ComputeRequest ordinary = Problem(250, 1000).Request();
    constexpr int kRequests = 20;
    server_.Of([&] { return Send(server_.stub(), ordinary); });
    Cost all;
    for (int i = 0; i < kRequests; ++i) {
      const Cost one = server_.Of([&] { return Send(server_.stub(), ordinary); });
      all.sent += one.sent;
      all.seconds += one.seconds;
    }
    seconds_per_byte_ = all.seconds / static_cast<double>(all.sent);
  }

  void TearDown() override {
    std::printf("  %d calls; an ordinary byte takes %.1f ns\n", calls_, 1e9 * seconds_per_byte_);
    std::printf("  most of the heap's line: %.0f %%, %s\n", 100 * worst_heap_, heap_name_.c_str());
    std::printf("  most of the time's line: %.0f %%, %s\n", 100 * worst_time_, time_name_.c_str());
  }

  // Sends it, and holds what it took against the lines.
  template <class Message>
  void Try(const std::string& name, const Message& message) {
    const Cost cost = server_.Of([&] { return Send(server_.stub(), message); });
    ++calls_;
    const auto sent = static_cast<double>(cost.sent);
    const double heap = static_cast<double>(cost.heap) / (kFreeHeapBytes + kTimes * sent);
    const double time = cost.seconds / (kFreeSeconds + times_ * sent * seconds_per_byte_);
    const std::string text = absl::StrCat(name, ": ", cost.sent, " bytes took ", cost.heap,
                                          " bytes and ", 1e3 * cost.seconds, " ms");
    EXPECT_LE(heap, 1) << text;
    EXPECT_LE(time, 1) << text;
    if (heap > worst_heap_) heap_name_ = text;
    if (time > worst_time_) time_name_ = text;
    worst_heap_ = std::max(worst_heap_, heap);
    worst_time_ = std::max(worst_time_, time);
  }

  void TryPart(const std::string& name, Parts parts, size_t index,
               const std::function<void(Part&)>& spoil) {
    spoil(parts[index]);
    Try(name, parts);
  }

  double times_ = kTimes;  // of the time

 private:
  MeteredServer server_;
  double seconds_per_byte_ = 0;
  int calls_ = 0;
  double worst_heap_ = 0;
  double worst_time_ = 0;
  std::string heap_name_;
  std::string time_name_;
};

// What is done to the message at the end of a path: its fields one by one, and unknown ones.
std::vector<Value> AllValues(const Path& path) {
  std::vector<Value> values = hostile::ValuesFor(*path.back());
  EXPECT_FALSE(values.empty()) << hostile::NameOf(path) << " has no hostile values";
  return values;
}

TEST_F(Amplification, EveryFieldOfAMessage) {
  const Problem problem(4, 6);
  const v1::ComputeRequest bases[] = {problem.Request(), Soft(problem.Request())};
  for (const v1::ComputeRequest& base : bases) {
    for (const Path& path : hostile::AllPaths(*v1::ComputeRequest::descriptor())) {
      for (const Value& value : AllValues(path)) {
        v1::ComputeRequest request = base;
        value.set(hostile::ParentOf(request, path));
        Try(absl::StrCat(hostile::NameOf(path), " = ", value.name), request);
      }
    }
    for (const Value& value : hostile::UnknownFieldValues()) {
      v1::ComputeRequest request = base;
      value.set(request);
      Try(value.name, request);
    }
  }
}

// In the part of the stream that the path's first field says.
TEST_F(Amplification, EveryFieldOfAStream) {
  const Problem problem(4, 6);
  for (const Parts& base : {HardStream(problem), SoftStream(problem)}) {
    for (const Path& path : hostile::AllPaths(*Part::descriptor())) {
      const auto part = std::find_if(base.begin(), base.end(), [&](const Part& candidate) {
        return candidate.part_case() == path.front()->number();
      });
      if (part == base.end()) continue;  // no side data of this one
      const size_t index = part - base.begin();
      for (const Value& value : AllValues(path)) {
        TryPart(absl::StrCat(hostile::NameOf(path), " = ", value.name), base, index,
                [&](Part& spoilt) { value.set(hostile::ParentOf(spoilt, path)); });
      }
    }
    for (size_t index = 0; index < base.size(); ++index) {
      for (const Value& value : hostile::UnknownFieldValues()) {
        TryPart(value.name, base, index, [&](Part& spoilt) { value.set(spoilt); });
      }
    }
  }
}

// One field in all messages of its type at once: what is declared alike everywhere is believed.
TEST_F(Amplification, TheSameFieldEverywhere) {
  const Problem problem(4, 6);
  std::set<const google::protobuf::FieldDescriptor*> seen;
  for (const Path& path : hostile::AllPaths(*Part::descriptor())) {
    if (!seen.insert(path.back()).second) continue;
    const google::protobuf::Descriptor& type = *path.back()->containing_type();
    for (const Value& value : AllValues(path)) {
      const std::string name = absl::StrCat(path.back()->full_name(), " = ", value.name);
      const auto spoil = [&](google::protobuf::Message& root) {
        hostile::ForEachOfType(root, type, value.set);
      };
      for (const Parts& base : {HardStream(problem), SoftStream(problem)}) {
        TryPart(name, base, 0, spoil);
      }
      v1::ComputeRequest request = problem.Request();
      spoil(request);
      Try(name, request);
    }
  }
}

// As many boxes as there may be over as many positions, in every order that the values have.
TEST_F(Amplification, BoxesOverAHugeTensor) {
  const google::protobuf::FieldDescriptor& boxes =
      *v1::StreamHeader::descriptor()->FindFieldByName("boxes");
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{int64_t{1} << 39, 1},
                                            {int64_t{1} << 26, 1, 1 << 17},
                                            {1, 1, 1 << 30}}) {
    for (const Value& value : AllValues({&boxes})) {
      TryPart(absl::StrCat("boxes = ", value.name), SoftStream(Problem(4, 6)), 0, [&](Part& part) {
        v1::ComputeRequest& request = *part.mutable_header()->mutable_request();
        request.mutable_predictions()->mutable_shape()->Assign(shape.begin(), shape.end());
        request.mutable_class_probabilities()->mutable_shape()->Assign(shape.begin(), shape.end());
        value.set(*part.mutable_header());
      });
    }
  }
}

// Of f16 predictions and i8 labels or f16 probabilities, all ones and zeros.
v1::ComputeRequest Costly(const std::vector<int64_t>& shape, bool soft) {
  v1::ComputeRequest request;
  const auto describe = [](v1::Tensor* tensor, v1::DType dtype, const std::vector<int64_t>& extents,
                           int size) {
    tensor->set_dtype(dtype);
    int64_t elements = 1;
    for (const int64_t extent : extents) {
      tensor->add_shape(extent);
      elements *= extent;
    }
    std::string data(elements * size, '\0');
    for (size_t i = 1; size == 2 && i < data.size(); i += 2) data[i] = '\x3c';
    tensor->set_data(data);
  };
  describe(request.mutable_predictions(), v1::DTYPE_F16, shape, 2);
  if (soft) {
    describe(request.mutable_class_probabilities(), v1::DTYPE_F16, shape, 2);
  } else {
    std::vector<int64_t> labels = shape;
    labels.erase(labels.begin() + 1);
    describe(request.mutable_class_indices(), v1::DTYPE_I8, labels, 1);
  }
  describe(request.mutable_class_weights(), v1::DTYPE_F16, shape, 2);
  return request;
}

// Right requests of few bytes a position, whose every option costs. Known defect: rows of two lanes
// (outer x C x 2) are computed outer index by outer index, so a byte of them takes up to
// kTimesLanes ordinary ones; what is wanted is kTimes.
TEST_F(Amplification, CostlyShapes) {
  times_ = kTimesLanes;
  constexpr int64_t kElements = 1 << 17;
  const std::vector<int64_t> shapes[] = {
      {kElements, 1},    {kElements / 2, 1, 2}, {kElements / 16, 1, 15}, {kElements / 4, 2, 2},
      {1, 1, kElements}, {2, kElements / 4, 2}, {1, kElements}};
  const google::protobuf::OneofDescriptor& loss =
      *v1::LossSpec::descriptor()->FindOneofByName("loss");
  for (const auto& shape : shapes) {
    for (const bool soft : {false, true}) {
      for (int l = 0; l < loss.field_count(); ++l) {
        v1::ComputeRequest request = Costly(shape, soft);
        v1::LossSpec& spec = *request.mutable_spec();
        spec.GetReflection()->MutableMessage(&spec, loss.field(l));
        spec.set_reduction(v1::REDUCTION_WEIGHT_SUM);
        spec.set_label_smoothing(0.1);
        spec.set_gradient_dtype(v1::DTYPE_F64);
        spec.mutable_outputs()->set_position_losses(true);
        spec.mutable_outputs()->set_argmax_hits(true);
        if (spec.has_softmax()) {
          spec.mutable_outputs()->set_log_sum_exp(true);
          spec.mutable_outputs()->set_probabilities(true);
        }
        std::string name = absl::StrCat(std::string(loss.field(l)->name()), soft ? ", soft," : "");
        for (const int64_t extent : shape) absl::StrAppend(&name, " ", extent);
        Try(name, request);
      }
    }
  }
}

}  // namespace
}  // namespace lossd
