// Row 5: what a header declares, and nothing of which has come. Twenty such headers, four at a
// time, each with what has to come before the server prepares for blocks; then the upload ends.
#include <atomic>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/faults/row.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using Part = v1::ComputeStreamRequest;
using Shape = std::vector<int64_t>;

constexpr int64_t kHuge = int64_t{1} << 36;

void Describe(v1::Tensor* tensor, v1::DType dtype, const Shape& shape) {
  tensor->set_dtype(dtype);
  for (const int64_t extent : shape) tensor->add_shape(extent);
}

// Class probabilities of that shape, that would come with the blocks; one position is to come.
Part Probabilities(const Shape& shape) {
  Part part;
  v1::ComputeRequest* const request = part.mutable_header()->mutable_request();
  request->mutable_spec()->mutable_nll();
  Describe(request->mutable_class_probabilities(), v1::DTYPE_F32, shape);
  Describe(request->mutable_predictions(), v1::DTYPE_F32, shape);
  v1::Box* const box = part.mutable_header()->add_boxes();
  box->set_outer_count(1);
  box->set_inner_count(1);
  return part;
}

Part SideData(v1::SideData::Kind kind, const std::string& bytes) {
  Part part;
  part.mutable_side_data()->set_kind(kind);
  part.mutable_side_data()->set_data(bytes);
  return part;
}

std::string Floats(int count) {
  const std::vector<float> ones(count, 1.0f);
  return {reinterpret_cast<const char*>(ones.data()), ones.size() * sizeof(float)};
}

// A header and the weights of its classes, behind which nothing keeps the server from preparing.
std::vector<Part> WithClassWeights(const Shape& shape) {
  Part header = Probabilities(shape);
  const auto classes = static_cast<int>(shape[1]);
  Describe(header.mutable_header()->mutable_request()->mutable_class_weights(), v1::DTYPE_F32,
           {classes});
  return {header, SideData(v1::SideData::KIND_CLASS_WEIGHTS, Floats(classes))};
}

// With a first piece of a side tensor that takes nearly all that side tensors may.
std::vector<Part> WithSide(v1::SideData::Kind kind) {
  constexpr int64_t kPositions = (int64_t{1} << 28) - 16;
  Part header = Probabilities({kPositions, 1});
  v1::ComputeRequest* const request = header.mutable_header()->mutable_request();
  Describe(kind == v1::SideData::KIND_POSITION_WEIGHTS ? request->mutable_position_weights()
                                                       : request->mutable_upstream_gradient(),
           v1::DTYPE_F32, {kPositions});
  return {header, SideData(kind, Floats(1))};
}

// Single rows, far apart.
Part Scattered(int64_t count) {
  Part part = Probabilities({kHuge, 1});
  part.mutable_header()->clear_boxes();
  for (int64_t i = 0; i < count; ++i) {
    v1::Box* const box = part.mutable_header()->add_boxes();
    box->set_outer_begin(i * (kHuge / count) + 1);
    box->set_outer_count(1);
    box->set_inner_count(1);
  }
  return part;
}

// Columns, each a little shorter than the one before.
Part Nested(int64_t count) {
  Part part = Probabilities({int64_t{1} << 19, 1, count});
  part.mutable_header()->clear_boxes();
  for (int64_t i = 0; i < count; ++i) {
    v1::Box* const box = part.mutable_header()->add_boxes();
    box->set_outer_begin(i + 1);
    box->set_outer_count((int64_t{1} << 19) - 2 * i - 3);
    box->set_inner_begin(i);
    box->set_inner_count(1);
  }
  return part;
}

struct Declared {
  const char* name;
  std::function<std::vector<Part>()> parts;
};

const Declared kDeclared[] = {
    {"Rows",
     [] {
       return std::vector<Part>{Probabilities({kHuge, 1})};
     }},
    {"Lanes",
     [] {
       return std::vector<Part>{Probabilities({1, 1, kHuge})};
     }},
    {"Everywhere",
     [] {
       return std::vector<Part>{Probabilities({1 << 13, 2, 1 << 11, 1 << 12})};
     }},
    {"ClassWeights",
     [] {
       return WithClassWeights({kHuge, 1});
     }},
    {"ClassWeightsOfLanes",
     [] {
       return WithClassWeights({1 << 18, 3, 1 << 18});
     }},
    {"PositionWeights", [] { return WithSide(v1::SideData::KIND_POSITION_WEIGHTS); }},
    {"Upstream", [] { return WithSide(v1::SideData::KIND_UPSTREAM_GRADIENT); }},
    {"ScatteredBoxes", [] { return std::vector<Part>{Scattered(65'536)}; }},
    {"ScatteredBoxesFew", [] { return std::vector<Part>{Scattered(4'000)}; }},
    {"NestedBoxes", [] { return std::vector<Part>{Nested(65'536)}; }},
};

class HeaderRows : public Row {
 protected:
  static constexpr int kCalls = 20;
  static constexpr int kAtOnce = 4;

  // Runs `call` so often, from threads of their own, while the victim goes on.
  void Repeat(const std::function<void()>& call) {
    std::atomic<int> left = kCalls;
    std::vector<std::thread> threads;
    for (int i = 0; i < kAtOnce; ++i) {
      threads.emplace_back([&] {
        while (left-- > 0) call();
      });
    }
    for (std::thread& thread : threads) thread.join();
    sentinel().AwaitCalls(2);
  }

  // The victim waits for nobody, and memory grows by what came, not by what was declared.
  void ExpectHarmless(int64_t bytes) {
    const int64_t grown = PeakRssBytes(pid()) - peak_before_;
    std::printf("  %d calls of %ld KiB: +%ld MiB at most, the victim's slowest call %s\n", kCalls,
                static_cast<long>(bytes >> 10), static_cast<long>(grown >> 20),
                absl::FormatDuration(sentinel().slowest()).c_str());
    EXPECT_LT(sentinel().slowest(), absl::Seconds(1));
    if (IsSanitized(pid())) return;
    EXPECT_LT(grown, kAtOnce * 20 * bytes + (int64_t{32} << 20));
  }

  void Watch() {
    Serve({}, {"[::1]:0"});
    peak_before_ = PeakRssBytes(pid());
  }

  // Of another peer than the victim.
  std::unique_ptr<v1::LossService::Stub> OtherStub() {
    return v1::LossService::NewStub(testing::Connect(server().addresses()[1]));
  }

 private:
  int64_t peak_before_ = 0;
};

class DeclaredRows : public HeaderRows, public ::testing::WithParamInterface<Declared> {};

TEST_P(DeclaredRows, Row05_WhatAHeaderDeclaresCostsNothing) {
  Watch();
  const auto stub = OtherStub();
  const std::vector<Part> parts = GetParam().parts();
  int64_t bytes = 0;
  for (const Part& part : parts) bytes += static_cast<int64_t>(part.ByteSizeLong());
  Repeat([&] {
    grpc::ClientContext context;
    const auto stream = stub->ComputeStream(&context);
    for (const Part& part : parts) stream->Write(part);
    stream->WritesDone();
    const grpc::Status status = stream->Finish();
    // Else it was not prepared for.
    EXPECT_THAT(status.error_message(), HasSubstr("the upload ended")) << status.error_code();
  });
  ExpectHarmless(bytes);
}

INSTANTIATE_TEST_SUITE_P(All, DeclaredRows, ::testing::ValuesIn(kDeclared),
                         [](const auto& info) { return info.param.name; });

// One message that declares, and brings nothing.
TEST_F(HeaderRows, Row05_WhatAMessageDeclaresCostsNothing) {
  Watch();
  const auto stub = OtherStub();
  const v1::ComputeRequest request = Probabilities({kHuge, 1}).header().request();
  Repeat([&] {
    grpc::ClientContext context;
    v1::ComputeResponse response;
    const grpc::Status status = stub->Compute(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  });
  ExpectHarmless(static_cast<int64_t>(request.ByteSizeLong()));
}

}  // namespace
}  // namespace lossd
