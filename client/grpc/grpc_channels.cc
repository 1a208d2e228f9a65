#include "client/grpc/grpc_channels.h"

#include <grpc/grpc.h>
#include <grpcpp/channel.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

namespace lossd {
namespace {

// How much hope there is for a call, less being better. Makes an idle channel connect.
int Doubt(grpc::Channel& channel) {
  switch (channel.GetState(/*try_to_connect=*/true)) {
    case GRPC_CHANNEL_READY:
      return 0;
    case GRPC_CHANNEL_IDLE:
    case GRPC_CHANNEL_CONNECTING:
      return 1;
    case GRPC_CHANNEL_TRANSIENT_FAILURE:
    case GRPC_CHANNEL_SHUTDOWN:
      break;
  }
  return 2;
}

}  // namespace

GrpcChannels::GrpcChannels(Dialling dialling, int channels)
    : dialling_(std::move(dialling)),
      count_(channels * dialling_.endpoints.targets.size()),
      channels_(Dial()) {}

// Channel i leads to target i % targets.
GrpcChannels::Channels GrpcChannels::Dial() const {
  const std::vector<std::string>& targets = dialling_.endpoints.targets;
  Channels channels;
  channels.reserve(count_);
  for (size_t i = 0; i < count_; ++i) {
    const std::string& target = targets[i % targets.size()];
    grpc::ChannelArguments arguments = dialling_.arguments;
    // The environment's http_proxy is another machine, to which "localhost" is itself.
    if (IsLocalTarget(target)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    channels.push_back(std::make_shared<GrpcChannel>(target, dialling_.credentials,
                                                     std::move(arguments), dialling_.token));
  }
  return channels;
}

std::shared_ptr<GrpcChannel> GrpcChannels::Choose() {
  const std::lock_guard lock(mutex_);
  return dialling_.endpoints.replicas ? MostPromising() : LeastBusy();
}

std::shared_ptr<GrpcChannel> GrpcChannels::LeastBusy() const {
  return *std::min_element(channels_.begin(), channels_.end(), [](const auto& a, const auto& b) {
    return a->calls.load() < b->calls.load();
  });
}

int GrpcChannels::CallsToServerOf(size_t channel) const {
  const size_t targets = dialling_.endpoints.targets.size();
  int calls = 0;
  for (size_t i = channel % targets; i < count_; i += targets) calls += channels_[i]->calls.load();
  return calls;
}

std::shared_ptr<GrpcChannel> GrpcChannels::MostPromising() {
  const size_t targets = dialling_.endpoints.targets.size();
  turn_ = (turn_ + 1) % targets;
  size_t best = count_;
  std::tuple<int, int, size_t, int> least;
  for (size_t i = 0; i < count_; ++i) {
    const size_t after_turn = (i + targets - turn_) % targets;
    const std::tuple key(Doubt(*channels_[i]->channel), CallsToServerOf(i), after_turn,
                         channels_[i]->calls.load());
    if (best != count_ && key >= least) continue;
    best = i;
    least = key;
  }
  if (std::get<0>(least) != 0) {
    for (const auto& channel : channels_) {
      grpc::experimental::ChannelResetConnectionBackoff(channel->channel.get());
    }
  }
  return channels_[best];
}

Patience::Prospect GrpcChannels::ProspectOf(const GrpcChannel& channel) const {
  const auto ready = [](const GrpcChannel& one) {
    return one.channel->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
  };
  if (!dialling_.endpoints.replicas || ready(channel)) return Patience::Prospect::kHere;
  const bool elsewhere =
      std::any_of(channels_.begin(), channels_.end(), [&](const auto& one) { return ready(*one); });
  return elsewhere ? Patience::Prospect::kElsewhere : Patience::Prospect::kNowhere;
}

}  // namespace lossd
