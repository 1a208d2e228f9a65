#include "tests/support/heap_meter.h"

#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace {

std::atomic<int64_t> live{0};
std::atomic<int64_t> peak{0};
std::atomic<int64_t> limit{INT64_MAX};

void Grown(size_t bytes) {
  const int64_t now = live.fetch_add(static_cast<int64_t>(bytes)) + static_cast<int64_t>(bytes);
  for (int64_t most = peak; now > most && !peak.compare_exchange_weak(most, now);) {
  }
  if (now <= limit) return;
  limit = INT64_MAX;
  constexpr char kWords[] = "FINDING: more memory was asked for than is allowed\n";
  static_cast<void>(write(STDERR_FILENO, kWords, sizeof kWords - 1));
  std::abort();
}

void Shrunk(size_t bytes) { live.fetch_sub(static_cast<int64_t>(bytes)); }

}  // namespace

namespace lossd::heap_meter {

int64_t LiveBytes() { return live; }
int64_t PeakBytes() { return peak; }
void ResetPeak() { peak = live.load(); }
void EndAbove(int64_t bytes) { limit = bytes; }

}  // namespace lossd::heap_meter

extern "C" {

#ifdef LOSSD_SANITIZED

size_t __sanitizer_get_allocated_size(const volatile void* memory);

void __sanitizer_malloc_hook(const volatile void* memory, size_t size) { Grown(size); }
void __sanitizer_free_hook(const volatile void* memory) {
  if (memory != nullptr) Shrunk(__sanitizer_get_allocated_size(memory));
}

#else

// The C library's own, under the names by which it lets programs stand before them.
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* memory);

static void* Counted(void* memory) {
  if (memory != nullptr) Grown(malloc_usable_size(memory));
  return memory;
}

void* malloc(size_t size) { return Counted(__libc_malloc(size)); }
void* calloc(size_t count, size_t size) { return Counted(__libc_calloc(count, size)); }
void* memalign(size_t alignment, size_t size) { return Counted(__libc_memalign(alignment, size)); }
void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, size_t alignment, size_t size) {
  *memory = memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
void* realloc(void* memory, size_t size) {
  const size_t before = memory == nullptr ? 0 : malloc_usable_size(memory);
  void* const grown = __libc_realloc(memory, size);
  if (grown == nullptr && size > 0) return nullptr;
  Shrunk(before);
  return Counted(grown);
}
void free(void* memory) {
  if (memory != nullptr) Shrunk(malloc_usable_size(memory));
  __libc_free(memory);
}

#endif

}  // extern "C"
