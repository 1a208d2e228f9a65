#include "tests/server/open_call.h"

namespace lossd::testing {

OpenCall::OpenCall(const Server& server, const std::string& method,
                   std::optional<absl::Time> deadline)
    : stub_(Connect(server.addresses().front())) {
  if (deadline) context_.set_deadline(absl::ToChronoTime(*deadline));
  call_ = stub_.PrepareCall(&context_, method, &queue_);
  call_->StartCall(this);
  Await();
}

bool OpenCall::Await() {
  void* tag = nullptr;
  bool ok = false;
  return queue_.Next(&tag, &ok) && ok;
}

void OpenCall::Send(const google::protobuf::Message& message, bool last) {
  grpc::Slice slice(message.SerializeAsString());
  grpc::WriteOptions options;
  if (last) options.set_last_message();
  call_->Write(grpc::ByteBuffer(&slice, 1), options, this);
  Await();
}

void OpenCall::HalfClose() {
  call_->WritesDone(this);
  Await();
}

bool OpenCall::AwaitAnswer() {
  call_->ReadInitialMetadata(this);
  return Await();
}

grpc::Status OpenCall::Finish() {
  grpc::ByteBuffer message;
  do {
    call_->Read(&message, this);
  } while (Await());
  grpc::Status status;
  call_->Finish(&status, this);
  Await();
  return status;
}

}  // namespace lossd::testing
