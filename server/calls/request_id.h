#ifndef LOSSD_SERVER_CALLS_REQUEST_ID_H_
#define LOSSD_SERVER_CALLS_REQUEST_ID_H_

#include <grpcpp/server_context.h>

#include <cstddef>
#include <string>

namespace lossd {

inline constexpr size_t kMaxRequestIdBytes = 128;

// What the client calls it: 1 to kMaxRequestIdBytes visible ASCII characters, given once. Else a
// name of our own, of 16 hexadecimal digits, that no other call of this process has.
std::string RequestIdOf(const grpc::ServerContext& context);

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_REQUEST_ID_H_
