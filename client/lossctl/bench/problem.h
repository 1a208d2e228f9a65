#ifndef LOSSD_CLIENT_LOSSCTL_BENCH_PROBLEM_H_
#define LOSSD_CLIENT_LOSSCTL_BENCH_PROBLEM_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "lossd/client.h"
#include "lossd/loss_spec.h"

namespace lossd::lossctl {

// What a loss is asked for: random predictions of the loss's domain and random labels, class axis
// 1, mean over all positions, with the gradient.
struct ProblemShape {
  Loss loss = SoftmaxLoss{};
  DType dtype = DType::kF32;
  std::vector<int64_t> shape = {};  // rank >= 2, positive extents, product below 2^60
  int inputs = 2;                   // different ones, called in turn
  uint64_t seed = 1;
};

// How one call went.
struct Verdict {
  absl::Status status = {};
  bool wrong = false;  // answered, and not as that input was answered first
};

// The inputs, and what the first answer to each was. Ask is thread-safe once Learn was called.
class Problem {
 public:
  explicit Problem(const ProblemShape& shape);

  int64_t elements() const { return elements_; }
  int64_t sent_bytes() const;      // of tensors, per call
  int64_t received_bytes() const;  // likewise

  // Asks once for each input and keeps the answers.
  absl::Status Learn(Client& client, const CallOptions& options);

  // Makes call number `index`. `gradient` has received_bytes() bytes.
  Verdict Ask(Client& client, const CallOptions& options, int64_t index,
              std::vector<std::byte>& gradient) const;

 private:
  struct Input {
    std::vector<std::byte> predictions;
    std::vector<int64_t> labels;
    std::vector<int64_t> lengths;                // of sequences of labels
    std::vector<std::vector<std::byte>> others;  // further tensors that the loss needs
    LossInputs views;
    LossResult answer;
    std::vector<std::byte> gradient;
  };

  void AddTargets(const ProblemShape& shape, std::mt19937_64& random, Input& input);
  void AddProbabilities(const ProblemShape& shape, std::mt19937_64& random, Input& input);
  static void AddLabelSequences(const ProblemShape& shape, std::mt19937_64& random, Input& input);
  void AddOthers(const ProblemShape& shape, std::mt19937_64& random, Input& input);

  LossSpec spec_;
  int64_t elements_;
  std::vector<Input> inputs_;
};

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_BENCH_PROBLEM_H_
