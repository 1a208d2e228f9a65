#include "protos/wire/spec_text.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/support/byte_buffer.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/request_codec.h"

namespace lossd::wire {
namespace {

// Keeps the first error.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (text_.empty()) text_ = absl::StrCat(line + 1, ":", column + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

absl::StatusOr<v1::LossSpec> Parse(const std::string& text) {
  v1::LossSpec spec;
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '{') {
    const auto status = google::protobuf::util::JsonStringToMessage(text, &spec);
    if (status.ok()) return spec;
    const auto message = status.message();
    return absl::InvalidArgumentError(absl::string_view(message.data(), message.size()));
  }
  google::protobuf::TextFormat::Parser parser;
  FirstError error;
  parser.RecordErrorsTo(&error);
  if (parser.ParseFromString(text, &spec)) return spec;
  return absl::InvalidArgumentError(error.text());
}

}  // namespace

absl::StatusOr<LossSpec> ParseSpec(const std::string& text) {
  LOSSD_ASSIGN_OR_RETURN(v1::LossSpec spec, Parse(text));
  // As the server reads it: inside a request, whose tensors nobody asks for.
  v1::ComputeRequest request;
  *request.mutable_spec() = std::move(spec);
  for (v1::Tensor* const tensor :
       {request.mutable_class_indices(), request.mutable_predictions()}) {
    tensor->set_dtype(v1::DTYPE_F32);
    tensor->add_shape(0);
  }
  const grpc::Slice slice(request.SerializeAsString());
  LOSSD_ASSIGN_OR_RETURN(DecodedRequest decoded,
                         DecodeComputeRequest(Message(grpc::ByteBuffer(&slice, 1))));
  decoded.spec.outputs = {};
  return std::move(decoded.spec);
}

}  // namespace lossd::wire
