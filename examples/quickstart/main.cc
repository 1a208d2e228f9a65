// quickstart [TARGET]: the loss of two rows of logits, and its gradient, from the server at TARGET.

#include <cstdio>
#include <vector>

#include "lossd/client.h"

int main(int argc, char** argv) {
  auto client = lossd::Client::Connect(argc > 1 ? argv[1] : "127.0.0.1:50151");
  const std::vector<float> logits = {1, 2, 3, 0.5, -1, 0};  // 2 rows, 3 classes
  const std::vector<int64_t> labels = {2, 0};
  std::vector<float> gradient(logits.size());

  lossd::LossInputs inputs;
  inputs.predictions = lossd::TensorView::Of<float>(logits, {2, 3});
  inputs.targets = lossd::TensorView::Of<int64_t>(labels, {2});
  const lossd::LossOutputs into = {.gradient = lossd::BytesOf(absl::MakeSpan(gradient))};

  const absl::StatusOr<lossd::LossResult> result =
      client.ok() ? client->Compute(lossd::LossSpec{}, inputs, into) : client.status();
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    return 1;
  }
  std::printf("loss %.6f, gradient of the first logit %.6f\n", result->loss, gradient[0]);
}
