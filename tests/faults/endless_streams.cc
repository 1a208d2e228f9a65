#include "tests/faults/endless_streams.h"

#include "tests/server/harness.h"

namespace lossd {
namespace {

void Describe(v1::Tensor* tensor, v1::DType dtype, std::initializer_list<int64_t> shape) {
  tensor->set_dtype(dtype);
  for (const int64_t extent : shape) tensor->add_shape(extent);
}

}  // namespace

v1::ComputeStreamRequest EndlessStreams::LargeRows() {
  constexpr int64_t kRows = 1 << 20, kClasses = 1 << 15;
  v1::ComputeStreamRequest part;
  v1::ComputeRequest* const request = part.mutable_header()->mutable_request();
  request->mutable_spec()->mutable_softmax();
  Describe(request->mutable_class_indices(), v1::DTYPE_U8, {kRows});
  Describe(request->mutable_predictions(), v1::DTYPE_F32, {kRows, kClasses});
  return part;
}

v1::ComputeStreamRequest EndlessStreams::ShortRows() {
  constexpr int64_t kRows = 1 << 30;
  v1::ComputeStreamRequest part;
  v1::ComputeRequest* const request = part.mutable_header()->mutable_request();
  request->mutable_spec()->mutable_softmax();
  request->mutable_spec()->mutable_outputs()->set_gradient(false);
  Describe(request->mutable_class_probabilities(), v1::DTYPE_F16, {kRows, 2});
  Describe(request->mutable_predictions(), v1::DTYPE_F16, {kRows, 2});
  return part;
}

EndlessStreams::EndlessStreams(const std::string& address, int count,
                               const v1::ComputeStreamRequest& header, int64_t rows)
    : stub_(v1::LossService::NewStub(testing::Connect(address))) {
  for (int i = 0; i < count; ++i) {
    Stream& stream = *streams_.emplace_back(std::make_unique<Stream>());
    stream.stream = stub_->ComputeStream(&stream.context);
    stream.writer = std::thread([this, &stream, header, rows] { Write(stream, header, rows); });
    stream.reader = std::thread([this, &stream] { Read(stream); });
  }
}

EndlessStreams::~EndlessStreams() {
  stop_ = true;
  for (const auto& stream : streams_) stream->context.TryCancel();
  for (const auto& stream : streams_) {
    stream->writer.join();
    stream->reader.join();
    stream->stream->Finish();
  }
}

void EndlessStreams::Write(Stream& stream, const v1::ComputeStreamRequest& header,
                           int64_t rows) const {
  stream.stream->Write(header);
  const v1::ComputeRequest& request = header.header().request();
  if (request.has_class_indices()) {
    v1::ComputeStreamRequest labels;
    labels.mutable_side_data()->set_kind(v1::SideData::KIND_TARGETS);
    labels.mutable_side_data()->set_data(std::string(request.class_indices().shape(0), '\0'));
    stream.stream->Write(labels);
  }
  const int64_t size = request.predictions().dtype() == v1::DTYPE_F32 ? 4 : 2;
  const std::string zeros(rows * request.predictions().shape(1) * size, '\0');
  v1::ComputeStreamRequest part;
  part.mutable_block()->set_predictions(zeros);
  if (request.has_class_probabilities()) part.mutable_block()->set_class_probabilities(zeros);
  v1::Box* const box = part.mutable_block()->mutable_box();
  box->set_outer_count(rows);
  box->set_inner_count(1);
  for (int64_t row = 0; !stop_; row += rows) {
    box->set_outer_begin(row);
    if (!stream.stream->Write(part)) break;
  }
}

void EndlessStreams::Read(Stream& stream) {
  for (v1::ComputeStreamResponse answer; stream.stream->Read(&answer);) ++answered_;
  if (!stop_) ++ended_;
}

}  // namespace lossd
