#ifndef LOSSD_SERVER_LOG_GRPC_LOG_H_
#define LOSSD_SERVER_LOG_GRPC_LOG_H_

#include <string>
#include <string_view>

#include "server/log/log.h"

namespace lossd {

// While it lives, what gRPC and Protobuf have to say goes to `log`: their errors, which a peer can
// bring about at will, as warnings; the rest at level debug. One at a time, made before gRPC is
// first used, so that GRPC_VERBOSITY decides nothing.
class GrpcLogRoute {
 public:
  explicit GrpcLogRoute(Log* log);
  ~GrpcLogRoute();
  GrpcLogRoute(const GrpcLogRoute&) = delete;
  GrpcLogRoute& operator=(const GrpcLogRoute&) = delete;
};

// A message of gRPC without what must not be logged: addresses, values of metadata, and all of a
// message about authorization. A long message is cut.
std::string WithoutSecrets(std::string_view message);

}  // namespace lossd

#endif  // LOSSD_SERVER_LOG_GRPC_LOG_H_
