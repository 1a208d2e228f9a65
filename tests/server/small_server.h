#ifndef LOSSD_TESTS_SERVER_SMALL_SERVER_H_
#define LOSSD_TESTS_SERVER_SMALL_SERVER_H_

#include <grpcpp/grpcpp.h>

#include "lossd/v1/loss.grpc.pb.h"

namespace lossd::testing {

// A service that tells, instead of its version, who calls.
class PeerService final : public v1::LossService::Service {
  grpc::Status GetServerInfo(grpc::ServerContext* context, const v1::GetServerInfoRequest* request,
                             v1::GetServerInfoResponse* response) override {
    response->set_version(context->peer());
    return grpc::Status::OK;
  }
};

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SERVER_SMALL_SERVER_H_
