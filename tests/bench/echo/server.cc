// lossd_bench_echo: what any server on this version of gRPC takes for the bytes alone. Sends every
// message back as the slices it came in, on completion queues, as many pollers as lossd has.

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/byte_buffer.h>
#include <signal.h>

#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tests/bench/echo/settings.h"

namespace lossd::bench {
namespace {

using Tag = std::function<void(bool)>;

constexpr int kPollers = 2;
constexpr int kAcceptDepth = 8;
// Messages that were read and are not written yet: as many as lossd has.
constexpr size_t kMaxInFlight = 4;

// One call. Owns itself: each outstanding operation holds a reference.
class Call : public std::enable_shared_from_this<Call> {
 public:
  static void Accept(grpc::AsyncGenericService* service, grpc::ServerCompletionQueue* queue) {
    const auto call = std::make_shared<Call>();
    service->RequestCall(&call->context_, &call->stream_, queue, queue,
                         new Tag([call, service, queue](bool ok) {
                           if (!ok) return;
                           Accept(service, queue);
                           call->sink_ = call->context_.method() == kSinkStream;
                           const std::lock_guard lock(call->mutex_);
                           call->Read();
                         }));
  }

 private:
  void Read() {
    if (reading_ || ended_ || pending_.size() + (writing_ ? 1 : 0) >= kMaxInFlight) return;
    reading_ = true;
    stream_.Read(&incoming_, new Tag([self = shared_from_this()](bool ok) { self->OnRead(ok); }));
  }

  void OnRead(bool ok) {
    const std::lock_guard lock(mutex_);
    reading_ = false;
    if (!ok) {
      ended_ = true;
    } else if (sink_) {
      incoming_.Clear();
    } else {
      pending_.push_back(std::exchange(incoming_, grpc::ByteBuffer()));
    }
    Read();
    Write();
  }

  void Write() {
    if (writing_) return;
    if (pending_.empty()) {
      if (ended_) Finish();
      return;
    }
    writing_ = true;
    outgoing_ = std::exchange(pending_.front(), grpc::ByteBuffer());
    pending_.pop_front();
    stream_.Write(outgoing_, new Tag([self = shared_from_this()](bool ok) { self->OnWrite(ok); }));
  }

  void OnWrite(bool ok) {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    outgoing_.Clear();
    if (!ok) pending_.clear();
    Read();
    Write();
  }

  void Finish() {
    const auto done = [self = shared_from_this()](bool) {};
    if (sink_) {
      const grpc::Slice nothing;
      stream_.WriteAndFinish(grpc::ByteBuffer(&nothing, 1), {}, grpc::Status::OK, new Tag(done));
    } else {
      stream_.Finish(grpc::Status::OK, new Tag(done));
    }
  }

  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  std::mutex mutex_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  std::deque<grpc::ByteBuffer> pending_;
  bool sink_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool ended_ = false;
};

void Poll(grpc::CompletionQueue* queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) {
    const std::unique_ptr<Tag> run(static_cast<Tag*>(tag));
    (*run)(ok);
  }
}

int Serve() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  grpc::AsyncGenericService service;
  grpc::ServerBuilder builder;
  ForEachEchoArgument(
      [&](const char* name, int value) { builder.AddChannelArgument(name, value); });
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterAsyncGenericService(&service);
  const std::unique_ptr<grpc::ServerCompletionQueue> queue = builder.AddCompletionQueue();
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  for (int i = 0; i < kAcceptDepth; ++i) Call::Accept(&service, queue.get());
  std::vector<std::thread> pollers;
  for (int i = 0; i < kPollers; ++i) pollers.emplace_back(&Poll, queue.get());
  std::printf("echo: listening on 127.0.0.1:%d\n", port);
  std::fflush(stdout);

  int signal = 0;
  sigwait(&signals, &signal);
  std::_Exit(0);  // nothing to be kept
}

}  // namespace
}  // namespace lossd::bench

int main() { return lossd::bench::Serve(); }
