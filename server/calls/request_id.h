#ifndef LOSSD_SERVER_CALLS_REQUEST_ID_H_
#define LOSSD_SERVER_CALLS_REQUEST_ID_H_

#include <grpcpp/server_context.h>

#include <string>

namespace lossd {

// Metadata by which a client names its call, and trailer in which the name comes back.
inline constexpr char kRequestIdKey[] = "x-request-id";
inline constexpr size_t kMaxRequestIdBytes = 128;

// What the client calls it: 1 to kMaxRequestIdBytes visible ASCII characters, given once. Else a
// name of our own, of 16 hexadecimal digits, that no other call of this process has.
std::string RequestIdOf(const grpc::ServerContext& context);

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_REQUEST_ID_H_
