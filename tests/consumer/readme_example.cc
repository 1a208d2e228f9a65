// README.md's example, called with the worked example of docs/semantics.md.

#include "readme_example.h"

#include <cmath>
#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  const std::vector<float> logits = {1, 2, 3, 0.5, -1, 0};
  const std::vector<int64_t> labels = {2, 0};
  std::vector<float> gradient(logits.size());
  absl::StatusOr<lossd::Client> client = lossd::Client::Connect(argc > 1 ? argv[1] : "");
  const absl::StatusOr<lossd::LossResult> result =
      client.ok() ? LossAndGradient(*client, 3, logits, labels, gradient) : client.status();
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    return 1;
  }
  std::printf("loss %.16g, gradient of the first logit %.7g\n", result->loss, gradient[0]);
  // Twice the loss of the worked example, whose loss weight is 0.5.
  return std::fabs(result->loss - 0.5058682848905544) < 1e-7 &&
                 std::fabs(gradient[0] - 0.0450153) < 1e-6
             ? 0
             : 1;
}
