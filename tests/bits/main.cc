// lossd_bits LOSSD [FIRST [COUNT]]: sends requests FIRST .. FIRST+COUNT-1 of the recorded set to
// the program LOSSD and prints a line for each: what was asked, the code of the answer, and a hash
// of the request's and of the answer's bytes. Two programs that compute the same print the same.

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "tests/bits/requests.h"
#include "tests/support/process.h"
#include "tests/support/random.h"

namespace lossd::bits {
namespace {

constexpr int kRequests = 2400;

// FNV-1a.
uint64_t Hash(const std::string& bytes, uint64_t hash = 0xcbf29ce484222325u) {
  for (const char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

std::string Flatten(grpc::ByteBuffer& buffer) {
  std::string bytes;
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) std::abort();
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

struct Answer {
  grpc::Status status;
  std::vector<std::string> messages;
};

// One call of any method. Messages are sent and read at the same time.
class Call {
 public:
  Call(grpc::GenericStub& stub, const std::string& method, std::vector<std::string> messages)
      : messages_(std::move(messages)), call_(stub.PrepareCall(&context_, method, &queue_)) {}
  // The queue has to be empty when it goes: a write may still be on it.
  ~Call() {
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  Answer Run() {
    call_->StartCall(&start_);
    while (!finished_) {
      void* tag = nullptr;
      bool ok = false;
      if (!queue_.Next(&tag, &ok)) std::abort();
      Continue(tag, ok);
    }
    return std::move(answer_);
  }

 private:
  void Continue(void* tag, bool ok) {
    if (tag == &finish_) {
      finished_ = true;
    } else if (tag == &read_ && !ok) {
      call_->Finish(&answer_.status, &finish_);
    } else if (tag == &read_) {
      answer_.messages.push_back(Flatten(incoming_));
      call_->Read(&incoming_, &read_);
    } else {
      if (tag == &start_) call_->Read(&incoming_, &read_);
      if (ok) Write();
    }
  }

  void Write() {
    if (sent_ == messages_.size()) return;
    const grpc::Slice slice(messages_[sent_++]);
    grpc::WriteOptions options;
    if (sent_ == messages_.size()) options.set_last_message();
    call_->Write(grpc::ByteBuffer(&slice, 1), options, &write_);
  }

  const std::vector<std::string> messages_;
  size_t sent_ = 0;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::ByteBuffer incoming_;
  Answer answer_;
  bool finished_ = false;
  char start_ = 0;
  char read_ = 0;
  char write_ = 0;
  char finish_ = 0;
};

uint64_t HashOf(const RecordedRequest& recorded, Answer answer) {
  // Blocks are answered in any order, and the first of several faults decides a message.
  if (recorded.stream) std::sort(answer.messages.begin(), answer.messages.end());
  if (!answer.status.ok()) answer.messages.clear();
  const bool any_message =
      recorded.stream && answer.status.error_message().rfind("predictions", 0) == 0;
  uint64_t hash = Hash(any_message ? "" : answer.status.error_message());
  for (const std::string& message : answer.messages) hash = Hash(message, hash);
  return hash;
}

int Run(int first, int count) {
  // Its log is about what is refused, as it should be.
  const ServerProcess server({"127.0.0.1:0"}, {}, "/dev/null");
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  grpc::GenericStub stub(
      grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), arguments));
  int answered = 0;
  for (int i = first; i < first + count; ++i) {
    const RecordedRequest recorded = MakeRequest(i);
    const std::vector<std::string> messages = MessagesOf(recorded);
    uint64_t asked = Hash("");
    for (const std::string& message : messages) asked = Hash(message, asked);
    const char* method =
        recorded.stream ? "/lossd.v1.LossService/ComputeStream" : "/lossd.v1.LossService/Compute";
    Answer answer = Call(stub, method, messages).Run();
    const auto code = static_cast<int>(answer.status.error_code());
    if (answer.status.ok()) ++answered;
    std::printf("%04d %016lx %-56s %2d %016lx\n", i, asked, Describe(recorded).c_str(), code,
                HashOf(recorded, std::move(answer)));
  }
  std::fprintf(stderr, "%d requests of LOSSD_TEST_SEED=%lu, %d computed, the others refused\n",
               count, oracle::TestSeed(), answered);
  return 0;
}

}  // namespace
}  // namespace lossd::bits

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "lossd_bits LOSSD [FIRST [COUNT]]\n");
    return 2;
  }
  setenv("LOSSD_BINARY", argv[1], /*overwrite=*/1);
  return lossd::bits::Run(argc > 2 ? std::atoi(argv[2]) : 0,
                          argc > 3 ? std::atoi(argv[3]) : lossd::bits::kRequests);
}
