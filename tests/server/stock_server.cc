#include <grpcpp/grpcpp.h>

#include <cstdio>

#include "tests/server/small_server.h"

// A server with gRPC's own listener, for comparison: says where it listens, serves until it is
// killed.
int main() {
  lossd::testing::PeerService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  std::printf("lossd: listening on 127.0.0.1:%d\n", port);
  std::fflush(stdout);
  server->Wait();
}
