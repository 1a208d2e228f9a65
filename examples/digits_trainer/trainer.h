#ifndef LOSSD_EXAMPLES_DIGITS_TRAINER_TRAINER_H_
#define LOSSD_EXAMPLES_DIGITS_TRAINER_TRAINER_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "examples/digits_trainer/digits.h"
#include "examples/digits_trainer/mlp.h"
#include "lossd/client.h"

namespace digits {

// What all ranks know.
struct TrainerOptions {
  std::string data;    // path of digits.csv.gz
  std::string server;  // of lossd
  int epochs = 30;
  uint32_t seed = 1;
};

// One of several equal processes that train one model. Every rank holds its shard of the images and
// a copy of the model; only losses, counts and gradients of parameters travel between ranks.
class Trainer {
 public:
  // MPI is up. Reads the data and keeps this rank's shard.
  static absl::StatusOr<Trainer> Make(const TrainerOptions& options);

  // Trains, and prints a line per epoch on rank 0. kFailedPrecondition unless the ranks' losses add
  // up to the loss of the whole batch, and the accuracy on the test images is good at the end.
  absl::Status Run();

 private:
  // Of the calls of an epoch, this rank's; summed over ranks for the report.
  struct Tally {
    double loss = 0;
    int64_t correct = 0;
    int64_t calls = 0;
    double seconds_in_calls = 0;
  };

  Trainer(lossd::Client client, uint32_t seed) : client_(std::move(client)), model_(seed) {}

  absl::Status TrainEpoch(int epoch, Tally& tally);
  absl::Status TrainBatch(absl::Span<const int64_t> batch, float rate, bool check, Tally& tally);
  absl::StatusOr<double> TestAccuracy();
  absl::Status CheckSum(const Images& mine, absl::Span<const float> logits, int64_t batch_size,
                        double loss_of_ranks);
  absl::StatusOr<lossd::LossResult> Loss(absl::Span<const float> logits,
                                         absl::Span<const uint8_t> labels, int64_t batch_size,
                                         absl::Span<float> gradient, Tally& tally);

  TrainerOptions options_;
  int rank_ = 0;
  int ranks_ = 1;
  lossd::Client client_;
  Mlp model_;
  int64_t train_images_ = 0;  // of all ranks
  Images shard_;              // training image i is number i / ranks on rank i % ranks
  Images test_;               // this rank's share
  double worst_difference_ = 0;
};

}  // namespace digits

#endif  // LOSSD_EXAMPLES_DIGITS_TRAINER_TRAINER_H_
