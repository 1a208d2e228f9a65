#ifndef LOSSD_CLIENT_TESTING_LOCAL_TRANSPORT_H_
#define LOSSD_CLIENT_TESTING_LOCAL_TRANSPORT_H_

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/transport/transport.h"

namespace lossd {

// How the other end of a stream answers. Thread: that of the call's queue.
class StreamReply {
 public:
  virtual ~StreamReply() = default;
  virtual void Send(wire::Message message) = 0;
  // The stream is over; nothing may be sent afterwards. Once.
  virtual void End(absl::Status status) = 0;
};

// The other end of one stream.
class StreamPeer {
 public:
  virtual ~StreamPeer() = default;
  // A message arrived; `last`: and the sending half was closed. Not called after End.
  virtual void OnMessage(const wire::Message& message, bool last, StreamReply& reply) = 0;
};

// The other end of all calls.
class LocalService {
 public:
  virtual ~LocalService() = default;
  virtual absl::StatusOr<wire::Message> Unary(const std::string& method,
                                              const wire::Message& request) = 0;
  virtual std::unique_ptr<StreamPeer> Stream(const std::string& method) = 0;
};

// A transport to a service in this process. Time passes only when nothing else is left to do, and
// then at once, so that waits and deadlines cost a test nothing. A message is released when the
// service has seen it.
class LocalTransport : public Transport {
 public:
  explicit LocalTransport(std::shared_ptr<LocalService> service) : service_(std::move(service)) {}

  std::unique_ptr<EventQueue> NewQueue() override;
  absl::Time Now() const override;
  void Unary(EventQueue& queue, const CallSetup& call, const grpc::ByteBuffer& request,
             std::function<void(absl::StatusOr<wire::Message>)> done) override;
  std::unique_ptr<TransportStream> Stream(EventQueue& queue, const CallSetup& call,
                                          StreamEvents* events) override;
  void Reclaim() override {}

  void AdvanceTo(absl::Time time);  // no effect if it is past

 private:
  const std::shared_ptr<LocalService> service_;
  mutable std::mutex mutex_;
  absl::Time now_ = absl::UnixEpoch();
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_TESTING_LOCAL_TRANSPORT_H_
