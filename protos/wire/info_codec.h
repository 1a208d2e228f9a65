#ifndef LOSSD_WIRE_INFO_CODEC_H_
#define LOSSD_WIRE_INFO_CODEC_H_

#include <string>

#include "absl/status/statusor.h"
#include "lossd/server_info.h"
#include "protos/wire/message.h"

// The small messages beside the computation: GetServerInfo, and Check of grpc.health.v1.

namespace lossd::wire {

grpc::ByteBuffer EncodeServerInfoRequest();
grpc::ByteBuffer EncodeServerInfo(const ServerInfo& info);

// kInternal for a message that is not valid protobuf. Dtypes this build does not know are left out:
// a newer server may name them.
absl::StatusOr<ServerInfo> DecodeServerInfo(const Message& message);

// grpc.health.v1.HealthCheckRequest; "" asks for the server as a whole.
grpc::ByteBuffer EncodeHealthRequest(const std::string& service);

// grpc.health.v1.HealthCheckResponse: whether its status is SERVING. kInternal for a message that
// is not valid protobuf.
absl::StatusOr<bool> DecodeHealthResponse(const Message& message);

// The answer SERVING or NOT_SERVING, for fakes: servers have gRPC's own health service.
grpc::ByteBuffer EncodeHealthResponse(bool serving);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_INFO_CODEC_H_
