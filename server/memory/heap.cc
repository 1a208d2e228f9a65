#include "server/memory/heap.h"

#include <malloc.h>
#include <unistd.h>

#include <fstream>

namespace lossd {
namespace {

// More than a few blocks of a few streams.
constexpr int kKeptBytes = 512 << 20;
// The largest that glibc takes: what is larger is mapped by itself, and such pieces are rare.
constexpr int kMappedBytes = 32 << 20;

}  // namespace

void KeepFreedMemory() {
  // With an arena a thread each would keep its share, and only the first gives all of it back.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, kKeptBytes);
  mallopt(M_MMAP_THRESHOLD, kMappedBytes);
}

void ReleaseFreedMemory() { malloc_trim(0); }

int64_t HeapBytesInUse() {
  const struct mallinfo2 heap = mallinfo2();
  return static_cast<int64_t>(heap.uordblks + heap.hblkhd);
}

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0;
  int64_t resident_pages = 0;
  return file >> pages >> resident_pages ? resident_pages * sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace lossd
