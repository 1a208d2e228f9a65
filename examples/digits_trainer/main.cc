// Trains a digit classifier in several processes that ask one lossd for loss and gradient:
//   mpirun -n 4 digits_trainer --server=HOST:PORT --data=digits.csv.gz

#include <mpi.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "examples/digits_trainer/trainer.h"
#include "lossd/status_macros.h"

namespace {

absl::Status TrainAndTest(const digits::TrainerOptions& options) {
  LOSSD_ASSIGN_OR_RETURN(digits::Trainer trainer, digits::Trainer::Make(options));
  return trainer.Run();
}

}  // namespace

int main(int argc, char** argv) {
  digits::TrainerOptions options;
  CLI::App app("Trains a classifier of 8x8 digits; run it under mpirun.");
  app.add_option("--data", options.data, "digits.csv.gz")->required();
  app.add_option("--server", options.server, "Address of lossd")->required();
  app.add_option("--epochs", options.epochs, "Passes over the images")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Decides weights, split and order")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const absl::Status status = TrainAndTest(options);
  if (!status.ok()) {
    std::fprintf(stderr, "digits_trainer: rank %d: %s\n", rank,
                 std::string(status.message()).c_str());
    // The others may be waiting for this rank.
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return 0;
}
