#include "examples/digits_trainer/trainer.h"

#include <mpi.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "lossd/status_macros.h"

namespace digits {
namespace {

constexpr int64_t kTestImages = 360;
constexpr int64_t kGlobalBatch = 64;  // of all ranks together
constexpr float kFirstRate = 0.1f;    // falls evenly to 0 over the epochs
constexpr float kMomentum = 0.9f;
constexpr double kLabelSmoothing = 0.1;
constexpr double kWantedAccuracy = 0.95;
constexpr double kAllowedDifference = 1e-12;

// 0 .. count - 1 in an order that depends on the seed alone.
std::vector<int64_t> Shuffled(int64_t count, uint32_t seed) {
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::mt19937 random(seed);
  for (int64_t i = count - 1; i > 0; --i) std::swap(order[i], order[random() % (i + 1)]);
  return order;
}

template <class T>
void SumOverRanks(MPI_Datatype type, T* values, int64_t count) {
  MPI_Allreduce(MPI_IN_PLACE, values, static_cast<int>(count), type, MPI_SUM, MPI_COMM_WORLD);
}

double SumOverRanks(double value) {
  SumOverRanks(MPI_DOUBLE, &value, 1);
  return value;
}

// The values of all ranks, one rank after the other, on rank 0.
template <class T>
std::vector<T> GatherOnRank0(MPI_Datatype type, absl::Span<const T> mine, int ranks) {
  const int count = static_cast<int>(mine.size());
  std::vector<int> counts(ranks);
  std::vector<int> offsets(ranks);
  MPI_Gather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, 0, MPI_COMM_WORLD);
  std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), 0);
  std::vector<T> all(std::accumulate(counts.begin(), counts.end(), 0));
  MPI_Gatherv(mine.data(), count, type, all.data(), counts.data(), offsets.data(), type, 0,
              MPI_COMM_WORLD);
  return all;
}

}  // namespace

absl::StatusOr<Trainer> Trainer::Make(const TrainerOptions& options) {
  LOSSD_ASSIGN_OR_RETURN(const Images all, ReadDigits(options.data));
  if (all.count() <= kTestImages) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s has %d images; wanted more than the %d that are kept for the test",
                        options.data, all.count(), kTestImages));
  }
  LOSSD_ASSIGN_OR_RETURN(lossd::Client client, lossd::Client::Connect(options.server));
  Trainer trainer(std::move(client), options.seed);
  trainer.options_ = options;
  MPI_Comm_rank(MPI_COMM_WORLD, &trainer.rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &trainer.ranks_);
  trainer.train_images_ = all.count() - kTestImages;

  const std::vector<int64_t> order = Shuffled(all.count(), options.seed);
  std::vector<int64_t> train;
  std::vector<int64_t> test;
  for (int64_t i = trainer.rank_; i < all.count(); i += trainer.ranks_) {
    (i < trainer.train_images_ ? train : test).push_back(order[i]);
  }
  trainer.shard_ = all.Select(train);
  trainer.test_ = all.Select(test);
  return trainer;
}

absl::Status Trainer::Run() {
  if (rank_ == 0) {
    std::printf("%d ranks, %d training images, %d test images\n", ranks_,
                static_cast<int>(train_images_), static_cast<int>(kTestImages));
    std::printf("epoch      loss  train acc  test acc  calls  time in calls\n");
  }
  double test_accuracy = 0;
  for (int epoch = 1; epoch <= options_.epochs; ++epoch) {
    const absl::Time begin = absl::Now();
    Tally tally;
    LOSSD_RETURN_IF_ERROR(TrainEpoch(epoch, tally));
    const double seconds = SumOverRanks(absl::ToDoubleSeconds(absl::Now() - begin));
    const double loss = SumOverRanks(tally.loss) / static_cast<double>(train_images_);
    const double correct = SumOverRanks(static_cast<double>(tally.correct));
    const double calls = SumOverRanks(static_cast<double>(tally.calls));
    const double in_calls = SumOverRanks(tally.seconds_in_calls);
    LOSSD_ASSIGN_OR_RETURN(test_accuracy, TestAccuracy());
    if (rank_ == 0) {
      std::printf("%5d  %8.5f     %.4f    %.4f  %5.0f  %5.3f s (%2.0f %%)\n", epoch, loss,
                  correct / static_cast<double>(train_images_), test_accuracy, calls,
                  in_calls / ranks_, 100 * in_calls / seconds);
      std::fflush(stdout);
    }
  }
  if (rank_ != 0) return absl::OkStatus();
  std::printf("the ranks' losses add up to the loss of the whole batch: relative difference %.1e\n",
              worst_difference_);
  std::printf("test accuracy %.4f\n", test_accuracy);
  if (test_accuracy < kWantedAccuracy) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "test accuracy is %.4f; wanted at least %.2f", test_accuracy, kWantedAccuracy));
  }
  return absl::OkStatus();
}

absl::Status Trainer::TrainEpoch(int epoch, Tally& tally) {
  // All ranks draw the same order, so a batch is the same images whatever the number of ranks.
  const std::vector<int64_t> order = Shuffled(train_images_, options_.seed + epoch);
  const absl::Span<const int64_t> images = order;
  const float rate = kFirstRate * static_cast<float>(options_.epochs - epoch + 1) /
                     static_cast<float>(options_.epochs);
  for (int64_t i = 0; i < train_images_; i += kGlobalBatch) {
    LOSSD_RETURN_IF_ERROR(TrainBatch(images.subspan(i, kGlobalBatch), rate, i == 0, tally));
  }
  return absl::OkStatus();
}

absl::Status Trainer::TrainBatch(absl::Span<const int64_t> batch, float rate, bool check,
                                 Tally& tally) {
  std::vector<int64_t> mine;  // possibly none
  for (const int64_t image : batch) {
    if (image % ranks_ == rank_) mine.push_back(image / ranks_);
  }
  const Images images = shard_.Select(mine);
  const Mlp::Activations activations = model_.Forward(images);
  std::vector<float> by_logits(activations.logits.size());
  const auto batch_size = static_cast<int64_t>(batch.size());
  LOSSD_ASSIGN_OR_RETURN(
      const lossd::LossResult result,
      Loss(activations.logits, images.labels, batch_size, absl::MakeSpan(by_logits), tally));
  tally.loss += result.loss_sum;
  tally.correct += result.correct_count.value_or(0);
  if (check) {
    const double loss = SumOverRanks(result.loss);
    LOSSD_RETURN_IF_ERROR(CheckSum(images, activations.logits, batch_size, loss));
  }

  std::vector<float> gradient = model_.Backward(images, activations, by_logits);
  SumOverRanks(MPI_FLOAT, gradient.data(), static_cast<int64_t>(gradient.size()));
  model_.Step(gradient, rate, kMomentum);
  return absl::OkStatus();
}

// The denominator is given: the global batch's size. So each rank's loss and gradient are its share
// of the whole batch's, and sums over ranks need no weighting, however uneven the shares.
absl::StatusOr<lossd::LossResult> Trainer::Loss(absl::Span<const float> logits,
                                                absl::Span<const uint8_t> labels,
                                                int64_t batch_size, absl::Span<float> gradient,
                                                Tally& tally) {
  lossd::LossSpec spec;
  spec.reduction = lossd::Reduction::kGiven;
  spec.denominator = static_cast<double>(batch_size);
  spec.label_smoothing = kLabelSmoothing;

  const auto count = static_cast<int64_t>(labels.size());
  lossd::LossInputs inputs;
  inputs.predictions = lossd::TensorView::Of<float>(logits, {count, kClasses});
  inputs.targets = lossd::TensorView::Of<uint8_t>(labels, {count});

  std::vector<uint8_t> hits(count);
  lossd::LossOutputs into;
  into.gradient = lossd::BytesOf(gradient);
  into.argmax_hits = lossd::BytesOf(absl::MakeSpan(hits));

  const absl::Time begin = absl::Now();
  absl::StatusOr<lossd::LossResult> result = client_.Compute(spec, inputs, into);
  tally.seconds_in_calls += absl::ToDoubleSeconds(absl::Now() - begin);
  ++tally.calls;
  return result;
}

absl::Status Trainer::CheckSum(const Images& mine, absl::Span<const float> logits,
                               int64_t batch_size, double loss_of_ranks) {
  const std::vector<float> all_logits = GatherOnRank0<float>(MPI_FLOAT, logits, ranks_);
  const std::vector<uint8_t> all_labels = GatherOnRank0<uint8_t>(MPI_UINT8_T, mine.labels, ranks_);
  if (rank_ != 0) return absl::OkStatus();
  Tally not_training;
  LOSSD_ASSIGN_OR_RETURN(const lossd::LossResult whole,
                         Loss(all_logits, all_labels, batch_size, {}, not_training));
  const double difference = std::fabs(loss_of_ranks - whole.loss) / whole.loss;
  worst_difference_ = std::max(worst_difference_, difference);
  if (difference <= kAllowedDifference) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("the ranks' losses add up to %.17g, the loss of the whole batch is %.17g",
                      loss_of_ranks, whole.loss));
}

absl::StatusOr<double> Trainer::TestAccuracy() {
  Tally tally;
  LOSSD_ASSIGN_OR_RETURN(const lossd::LossResult result,
                         Loss(model_.Forward(test_).logits, test_.labels, kTestImages, {}, tally));
  return SumOverRanks(static_cast<double>(result.correct_count.value_or(0))) / kTestImages;
}

}  // namespace digits
