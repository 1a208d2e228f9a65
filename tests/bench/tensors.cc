#include "tests/bench/tensors.h"

#include <sys/mman.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <utility>

namespace lossd::bench {
namespace {

int64_t Elements(const std::vector<int64_t>& shape) { return *ElementCount(shape); }

int64_t TargetBytes(DType dtype, const std::vector<int64_t>& shape, TargetKind kind) {
  if (kind != TargetKind::kClassIndices) return Elements(shape) * SizeOf(dtype);
  return Elements(shape) / shape[1] * int64_t{sizeof(int64_t)};
}

std::vector<int64_t> WithoutClassAxis(std::vector<int64_t> shape) {
  shape.erase(shape.begin() + 1);
  return shape;
}

void Store(DType dtype, float value, std::byte* to) {
  if (dtype == DType::kBF16) {
    const auto bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
    std::memcpy(to, &bits, sizeof bits);
  } else {
    std::memcpy(to, &value, sizeof value);
  }
}

// A table of draws is enough: what the time depends on is their spread.
void FillNormal(DType dtype, MutableByteSpan out) {
  std::mt19937 random(20260101);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> table(65521);
  for (float& value : table) value = normal(random);
  const auto size = static_cast<size_t>(SizeOf(dtype));
  for (size_t i = 0; i < out.size() / size; ++i) {
    Store(dtype, table[i % table.size()], out.data() + i * size);
  }
}

void FillProbabilities(DType dtype, int64_t classes, MutableByteSpan out) {
  const auto size = static_cast<size_t>(SizeOf(dtype));
  const float each = 1.0F / static_cast<float>(classes);
  for (size_t i = 0; i < out.size() / size; ++i) Store(dtype, each, out.data() + i * size);
}

void FillZeroOne(DType dtype, MutableByteSpan out) {
  const auto size = static_cast<size_t>(SizeOf(dtype));
  for (size_t i = 0; i < out.size() / size; ++i)
    Store(dtype, i % 3 == 0 ? 1 : 0, out.data() + i * size);
}

void FillLabels(int64_t classes, MutableByteSpan out) {
  std::mt19937_64 random(20260102);
  for (size_t i = 0; i < out.size() / sizeof(int64_t); ++i) {
    const auto label = static_cast<int64_t>(random() % static_cast<uint64_t>(classes));
    std::memcpy(out.data() + i * sizeof label, &label, sizeof label);
  }
}

}  // namespace

Buffer::Buffer(size_t size) : size_(size) {
  void* const memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::fprintf(stderr, "bench: no memory for %zu bytes\n", size);
    std::exit(1);
  }
  madvise(memory, size, MADV_HUGEPAGE);
  std::memset(memory, 0, size);
  data_ = static_cast<std::byte*>(memory);
}

Buffer::~Buffer() { munmap(data_, size_); }

Problem::Problem(DType dtype, std::vector<int64_t> shape, TargetKind targets, const Loss& loss)
    : predictions_(static_cast<size_t>(Elements(shape) * SizeOf(dtype))),
      targets_(static_cast<size_t>(TargetBytes(dtype, shape, targets))) {
  FillNormal(dtype, predictions_.span());
  spec_.loss = loss;
  inputs_.target_kind = targets;
  inputs_.targets.bytes = targets_.span();
  if (targets != TargetKind::kClassIndices) {
    const bool values = targets == TargetKind::kTargetValues;
    values ? FillZeroOne(dtype, targets_.span())
           : FillProbabilities(dtype, shape[1], targets_.span());
    inputs_.targets.desc = {dtype, shape};
  } else {
    FillLabels(shape[1], targets_.span());
    inputs_.targets.desc = {DType::kI64, WithoutClassAxis(shape)};
  }
  inputs_.predictions = {{dtype, std::move(shape)}, predictions_.span()};
}

}  // namespace lossd::bench
