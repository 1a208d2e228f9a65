// A client of ours that calls without a pause until it is killed: a list of servers, whose health
// it watches.
//   storm_client TARGET CA_FILE TOKEN_FILE    (empty: without)
#include <signal.h>
#include <sys/prctl.h>

#include <cstdint>
#include <thread>
#include <vector>

#include "lossd/client.h"

namespace {

void CallForever(lossd::Client client, int64_t rows) {
  constexpr int64_t kClasses = 300;
  std::vector<float> predictions(rows * kClasses, 0.5F);
  std::vector<float> gradient(predictions.size());
  const std::vector<int64_t> labels(rows, 3);
  lossd::LossInputs inputs;
  inputs.predictions = lossd::TensorView::Of<float>(predictions, {rows, kClasses});
  inputs.targets = lossd::TensorView::Of<int64_t>(labels, {rows});
  const lossd::LossOutputs into = {.gradient = lossd::BytesOf<float>(absl::MakeSpan(gradient))};
  while (true) {
    for (const auto mode : {lossd::TransferMode::kUnary, lossd::TransferMode::kStream}) {
      // What becomes of the calls is not looked at: they are there to be cut off.
      (void)client.Compute({}, inputs, into, {.mode = mode});
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // where the test itself is killed
  lossd::ClientOptions options{.token_file = argv[3], .block_bytes = 100'000};
  if (*argv[2] != '\0') {
    options.tls = lossd::TlsOptions{.ca_file = argv[2], .server_name = "localhost"};
  }
  const absl::StatusOr<lossd::Client> client = lossd::Client::Connect(argv[1], options);
  if (!client.ok()) return 1;
  std::thread small([&] { CallForever(*client, 20); });
  CallForever(*client, 2000);
}
