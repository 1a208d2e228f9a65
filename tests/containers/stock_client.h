#ifndef LOSSD_TESTS_CONTAINERS_STOCK_CLIENT_H_
#define LOSSD_TESTS_CONTAINERS_STOCK_CLIENT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lossd/tensors.h"
#include "lossd/v1/loss.grpc.pb.h"

namespace lossd {

// A client as other languages have it: the generated stub on one channel, with the service config
// of docs/deploy.md. It knows nothing of lossd, and repeats what gRPC repeats by itself.
class StockClient {
 public:
  explicit StockClient(const std::string& target);

  // Computes the softmax loss of f32 predictions for i64 labels, in one message. On success
  // `gradient` has the bytes of the gradient, and `loss` the loss.
  absl::Status Compute(const LossInputs& inputs, std::string& gradient, double& loss) const;

 private:
  const std::unique_ptr<v1::LossService::Stub> stub_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_CONTAINERS_STOCK_CLIENT_H_
