#ifndef LOSSD_CLIENT_GRPC_GRPC_CHANNELS_H_
#define LOSSD_CLIENT_GRPC_GRPC_CHANNELS_H_

#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "client/grpc/bearer_token.h"
#include "client/grpc/grpc_call.h"
#include "client/grpc/patience.h"
#include "client/grpc/target.h"

namespace lossd {

// What channels are made of.
struct Dialling {
  Endpoints endpoints;
  grpc::ChannelArguments arguments;
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  std::shared_ptr<BearerToken> token;  // null: none
};

// The channels of a client: `channels` to each of its targets. Thread-safe.
class GrpcChannels {
 public:
  GrpcChannels(Dialling dialling, int channels);

  // The channel of the next call: the least busy one. With replicas, one of the least busy server,
  // of those that are there and serve, as far as is known; equally busy servers take turns. Where
  // none is, servers that were lost are dialled again at once.
  std::shared_ptr<GrpcChannel> Choose();

  // Where a call that was begun on a channel of these stands. Only with replicas is there an
  // elsewhere; one server is waited for.
  Patience::Prospect ProspectOf(const GrpcChannel& channel) const;

 private:
  using Channels = std::vector<std::shared_ptr<GrpcChannel>>;

  Channels Dial() const;
  std::shared_ptr<GrpcChannel> LeastBusy() const;
  std::shared_ptr<GrpcChannel> MostPromising();
  int CallsToServerOf(size_t channel) const;

  const Dialling dialling_;
  const size_t count_;
  std::mutex mutex_;
  const Channels channels_;
  size_t turn_ = 0;  // index of a target
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_GRPC_CHANNELS_H_
