#ifndef LOSSD_SERVER_FRONT_REFLECTION_H_
#define LOSSD_SERVER_FRONT_REFLECTION_H_

#include <grpcpp/server_builder.h>

namespace lossd {

// Whether this server offers reflection; to be said of every server, because gRPC's library of
// that name turns it on for all of a process that is linked with it.
void SetReflection(bool on, grpc::ServerBuilder& builder);

}  // namespace lossd

#endif  // LOSSD_SERVER_FRONT_REFLECTION_H_
