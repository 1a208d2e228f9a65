#include <sys/mman.h>

#include "core/exec/box_job.h"

namespace lossd {

namespace {

// Page by page, faulting in hundreds of MiB and giving them back take longer than a stopped request
// may. Where the system has no huge pages for us, it stays so.
void AskForHugePages(std::byte* memory, int64_t bytes) {
  constexpr int64_t kHugePage = int64_t{2} << 20;
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const int64_t skipped = -address % kHugePage;
  madvise(memory + skipped, (bytes - skipped) / kHugePage * kHugePage, MADV_HUGEPAGE);
}

}  // namespace

void Scratch::Take(int64_t bytes) {
  GiveBack();
  memory_.reset(static_cast<std::byte*>(::operator new(bytes, kAlignment)));
  capacity_ = bytes;
  // Only what glibc maps by itself, so that the advice goes with the memory.
  constexpr int64_t kLargestInHeap = int64_t{32} << 20;
  if (bytes > kLargestInHeap) AskForHugePages(memory_.get(), bytes);
}

void Workspace::Trim() {
  constexpr int64_t kLarge = int64_t{1} << 20;
  const auto for_each = [this](auto visit) {
    for (Scratch* scratch : {&gathered, &gathered_targets, &gathered_second, &logits, &slopes,
                             &exact, &exponentials, &chunk_scales, &factors, &losses, &labelled,
                             &no_labels, &coefficients, &wide_row, &outputs}) {
      visit(*scratch);
    }
  };
  int64_t total = 0;
  for_each([&](const Scratch& scratch) { total += scratch.bytes(); });
  if (total <= kKeptScratchBytes) return;
  for_each([](Scratch& scratch) {
    if (scratch.bytes() > kLarge) scratch.GiveBack();
  });
}

}  // namespace lossd
