#ifndef LOSSD_SERVER_GOAWAY_H_
#define LOSSD_SERVER_GOAWAY_H_

#include <grpcpp/server.h>

namespace lossd {

// Asks the clients of all connections to go elsewhere (GOAWAY), while the server goes on taking the
// calls that were on their way. grpc::Server::Shutdown asks too, but breaks off (CANCELLED) what
// comes after it, before a client can know. Returns once that is under way. (docs/adr/022)
void SendGoaways(grpc::Server& server);

}  // namespace lossd

#endif  // LOSSD_SERVER_GOAWAY_H_
