// A user's test of its own code, without a server.

#include <cstdio>
#include <vector>

#include "lossd/client.h"
#include "lossd/testing/fake_transport.h"

int main() {
  lossd::FakeService service;
  service.compute = [](const lossd::LossSpec&, const lossd::LossInputs& inputs,
                       const lossd::LossOutputs&) -> absl::StatusOr<lossd::LossResult> {
    lossd::LossResult result;
    result.loss = 0.25;
    result.position_count = inputs.targets.desc.shape[0];
    return result;
  };
  lossd::Client client(lossd::MakeFakeTransport(service));

  const std::vector<float> logits = {1, 2, 3, 4};
  const std::vector<int64_t> labels = {1, 0};
  lossd::LossInputs inputs;
  inputs.predictions = lossd::TensorView::Of<float>(logits, {2, 2});
  inputs.targets = lossd::TensorView::Of<int64_t>(labels, {2});
  const absl::StatusOr<lossd::LossResult> result = client.Compute({}, inputs, {});
  if (!result.ok()) std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
  return result.ok() && result->loss == 0.25 && result->position_count == 2 ? 0 : 1;
}
