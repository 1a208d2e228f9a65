#ifndef LOSSD_CLIENT_TESTING_FAKE_TRANSPORT_H_
#define LOSSD_CLIENT_TESTING_FAKE_TRANSPORT_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "lossd/client.h"
#include "lossd/loss_result.h"
#include "lossd/loss_spec.h"
#include "lossd/server_info.h"

namespace lossd {

// A lossd service played by functions, for tests of code that uses lossd::Client: no network, no
// server, no waiting (backoff passes in no time). Everything the client does is real, encoding,
// cutting into blocks and replay included; only the other end is yours. It is one server and is
// asked for whole tensors: a fan-out is one call.
struct FakeService {
  // Computes one request. `into` has a buffer of the right size for each output that is wanted.
  // Called by the thread that waits for the call (the client's own for ComputeAsync), so possibly
  // by several at once. An UNAVAILABLE status is replayed as if it came from a server.
  std::function<absl::StatusOr<LossResult>(const LossSpec& spec, const LossInputs& inputs,
                                           const LossOutputs& into)>
      compute;

  ServerInfo info = {};
  bool serving = true;  // what health checks answer
};

// For the constructor of Client:
//   lossd::Client client(lossd::MakeFakeTransport({.compute = MyLoss}));
std::shared_ptr<Transport> MakeFakeTransport(FakeService service);

}  // namespace lossd

#endif  // LOSSD_CLIENT_TESTING_FAKE_TRANSPORT_H_
