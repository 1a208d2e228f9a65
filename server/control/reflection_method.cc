#include "server/control/reflection_method.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/support/status_code_enum.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <vector>

#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "lossd/status_macros.h"
#include "lossd/v1/loss.pb.h"
#include "server/control/proto_bytes.h"

namespace lossd {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

constexpr std::array<const char*, 3> kServices = {"lossd.v1.LossService", "grpc.health.v1.Health",
                                                  "grpc.reflection.v1.ServerReflection"};

// `file` and all that it imports, each once.
void AddWithImports(const FileDescriptor& file, std::vector<const FileDescriptor*>& files) {
  if (std::find(files.begin(), files.end(), &file) != files.end()) return;
  files.push_back(&file);
  for (int i = 0; i < file.dependency_count(); ++i) AddWithImports(*file.dependency(i), files);
}

std::vector<const FileDescriptor*> AllFiles() {
  std::vector<const FileDescriptor*> files;
  for (const char* const service : kServices) {
    AddWithImports(*DescriptorPool::generated_pool()->FindFileContainingSymbol(service), files);
  }
  return files;
}

// nullptr: there is no such file, or it is not one of ours.
const FileDescriptor* Ours(const FileDescriptor* file) {
  static const auto& all = *new std::vector<const FileDescriptor*>(AllFiles());
  return std::find(all.begin(), all.end(), file) != all.end() ? file : nullptr;
}

void DescribeFile(const FileDescriptor* file, ServerReflectionResponse& response) {
  if (file == nullptr) {
    response.mutable_error_response()->set_error_code(grpc::StatusCode::NOT_FOUND);
    response.mutable_error_response()->set_error_message("not found");
    return;
  }
  std::vector<const FileDescriptor*> files;
  AddWithImports(*file, files);
  for (const FileDescriptor* const one : files) {
    google::protobuf::FileDescriptorProto proto;
    one->CopyTo(&proto);
    proto.SerializeToString(
        response.mutable_file_descriptor_response()->add_file_descriptor_proto());
  }
}

ServerReflectionResponse Respond(const ServerReflectionRequest& request) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      DescribeFile(Ours(pool.FindFileByName(request.file_by_filename())), response);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      DescribeFile(Ours(pool.FindFileContainingSymbol(request.file_containing_symbol())), response);
      break;
    case ServerReflectionRequest::kListServices:
      for (const char* const service : kServices) {
        response.mutable_list_services_response()->add_service()->set_name(service);
      }
      break;
    case ServerReflectionRequest::kFileContainingExtension:
    case ServerReflectionRequest::kAllExtensionNumbersOfType:  // proto3: there are no extensions
      DescribeFile(nullptr, response);
      break;
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      response.mutable_error_response()->set_error_code(grpc::StatusCode::INVALID_ARGUMENT);
      response.mutable_error_response()->set_error_message("the request asks for nothing");
      break;
  }
  return response;
}

class Reflection final : public ControlMethod {
 public:
  absl::Status OnMessage(const grpc::ByteBuffer& message) override {
    LOSSD_ASSIGN_OR_RETURN(const auto request, ParseProto<ServerReflectionRequest>(message));
    answer_ = ProtoBytes(Respond(request));
    return absl::OkStatus();
  }
  absl::StatusOr<std::optional<grpc::ByteBuffer>> NextAnswer() override {
    return std::exchange(answer_, std::nullopt);
  }

 private:
  std::optional<grpc::ByteBuffer> answer_;
};

}  // namespace

std::unique_ptr<ControlMethod> MakeReflection(HealthState& health, std::function<void()> changed) {
  return std::make_unique<Reflection>();
}

}  // namespace lossd
