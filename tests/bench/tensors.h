#ifndef LOSSD_TESTS_BENCH_TENSORS_H_
#define LOSSD_TESTS_BENCH_TENSORS_H_

#include <cstdint>
#include <vector>

#include "lossd/loss_spec.h"
#include "lossd/tensor.h"

namespace lossd::bench {

// Memory as a trainer has it: page-aligned, in huge pages where the system has them, touched.
class Buffer {
 public:
  explicit Buffer(size_t size);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  MutableByteSpan span() const { return {data_, size_}; }

 private:
  std::byte* data_;
  size_t size_;
};

// A loss with class axis 1, mean over positions, on seeded logits (normal, deviation 2) and labels
// (or class probabilities, or values in [0, 1]) drawn evenly.
class Problem {
 public:
  Problem(DType dtype, std::vector<int64_t> shape, TargetKind targets = TargetKind::kClassIndices,
          const Loss& loss = SoftmaxLoss{});

  const LossSpec& spec() const { return spec_; }
  const LossInputs& inputs() const { return inputs_; }

 private:
  LossSpec spec_;
  Buffer predictions_;
  Buffer targets_;
  LossInputs inputs_;
};

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_TENSORS_H_
