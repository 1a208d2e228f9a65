#include "client/grpc_transport.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "client/grpc_call.h"
#include "client/grpc_queue.h"

namespace lossd {
namespace {

int Milliseconds(absl::Duration duration) {
  constexpr absl::Duration kMost = absl::Hours(24);
  return static_cast<int>(absl::ToInt64Milliseconds(std::min(duration, kMost)));
}

grpc::ChannelArguments Arguments(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  // Channels with equal arguments would share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1 << 20);
  // An answer that was compressed all the same is refused, not inflated to who knows what.
  arguments.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  // gRPC's own replay ends at 256 KiB; ours has no such end, and the two would multiply.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  // Also bounds how long memory stays lent to a connection on which nobody reads.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // gRPC would wait a second and more before it dials again, and fail all calls meanwhile.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                   Milliseconds(options.retry.initial_backoff));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, Milliseconds(options.retry.max_backoff));
  return arguments;
}

class GrpcTransport : public Transport {
 public:
  GrpcTransport(const std::string& target, const ClientOptions& options)
      : target_(target), arguments_(Arguments(options)), channels_(options.channels) {
    for (auto& channel : channels_) channel = Dial();
  }

  std::unique_ptr<EventQueue> NewQueue() override { return std::make_unique<GrpcQueue>(); }
  absl::Time Now() const override { return absl::Now(); }

  void Unary(EventQueue& queue, const std::string& method, TransportMessage request,
             absl::Time deadline,
             std::function<void(absl::StatusOr<TransportMessage>)> done) override {
    StartGrpcUnary(LeastBusy(), static_cast<GrpcQueue&>(queue), method, request, deadline,
                   std::move(done));
  }

  std::unique_ptr<TransportStream> Stream(EventQueue& queue, const std::string& method,
                                          absl::Time deadline, StreamEvents* events) override {
    return std::make_unique<GrpcStream>(LeastBusy(), static_cast<GrpcQueue&>(queue), method,
                                        deadline, events);
  }

  // A connection goes with its channel, and the channel when its last call is over. Nothing tells
  // which connection is stuck, so new calls get new ones.
  void Reclaim() override {
    std::vector<std::shared_ptr<GrpcChannel>> fresh(channels_.size());
    for (auto& channel : fresh) channel = Dial();
    const std::lock_guard lock(mutex_);
    channels_.swap(fresh);
  }

 private:
  std::shared_ptr<GrpcChannel> Dial() const {
    return std::make_shared<GrpcChannel>(
        grpc::CreateCustomChannel(target_, grpc::InsecureChannelCredentials(), arguments_));
  }

  std::shared_ptr<GrpcChannel> LeastBusy() {
    const std::lock_guard lock(mutex_);
    return *std::min_element(channels_.begin(), channels_.end(), [](const auto& a, const auto& b) {
      return a->calls.load() < b->calls.load();
    });
  }

  const std::string target_;
  const grpc::ChannelArguments arguments_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<GrpcChannel>> channels_;
};

// gRPC shuts down when its last object goes, and then waits up to 10 s for a poller of its own that
// a large write has started (seen with 1.51). So it is kept up as long as the process.
void KeepGrpcUp() {
  static const bool up = (grpc_init(), true);
  static_cast<void>(up);
}

}  // namespace

std::shared_ptr<Transport> MakeGrpcTransport(const std::string& target,
                                             const ClientOptions& options) {
  KeepGrpcUp();
  return std::make_shared<GrpcTransport>(target, options);
}

}  // namespace lossd
