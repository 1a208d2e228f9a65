// A lossd that tells how much memory it uses, and may be made to leak.
//   slope_server N
// Prints where it listens, and after every SIGUSR1, once no connection is left, the bytes that its
// heap has handed out. Of the objects that our own code deletes it forgets every N-th (0: none):
// the calls of operator delete in our objects are redirected here by the linker (--wrap).
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/memory/heap.h"
#include "server/server.h"

#ifdef LOSSD_SANITIZED
extern "C" size_t __sanitizer_get_current_allocated_bytes();
#endif

namespace {

std::atomic<long> deleted{0};
std::atomic<long> forgets{0};

bool Forgets() {
  const long every = forgets.load(std::memory_order_relaxed);
  return every > 0 && deleted.fetch_add(1, std::memory_order_relaxed) % every == 0;
}

int64_t HeapBytes() {
#ifdef LOSSD_SANITIZED
  return static_cast<int64_t>(__sanitizer_get_current_allocated_bytes());
#else
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
#endif
}

// What is handed out once nothing is going on: ends of calls and of connections come later than
// clients see them, and a connection's memory goes a little later still.
int64_t HeapBytesAtRest(const lossd::Server& server) {
  constexpr absl::Duration kStill = absl::Milliseconds(20);
  const absl::Time limit = absl::Now() + absl::Seconds(10);
  int64_t bytes = HeapBytes();
  absl::Time since = absl::Now();
  while (absl::Now() < std::min(limit, since + kStill)) {
    absl::SleepFor(absl::Milliseconds(1));
    const int64_t now = HeapBytes();
    const bool busy = server.live_calls() + server.loaned_output_bytes() + server.connections() > 0;
    if (busy || now != bytes) since = absl::Now();
    bytes = now;
  }
  return bytes;
}

}  // namespace

extern "C" {

void __real__ZdlPvm(void* memory, size_t size);
void __wrap__ZdlPvm(void* memory, size_t size) {
  if (!Forgets()) __real__ZdlPvm(memory, size);
}

}  // extern "C"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  sigset_t asked;
  sigemptyset(&asked);
  sigaddset(&asked, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &asked, nullptr);  // the threads to come inherit it
  lossd::KeepFreedMemory();
  lossd::ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  options.threads = 2;
  const auto server = lossd::Server::Start(options);
  if (!server.ok()) return 1;
  std::printf("lossd: listening on %s\n", (*server)->addresses().front().c_str());
  std::fflush(stdout);
  forgets = std::atol(argv[1]);
  for (int number = 0; sigwait(&asked, &number) == 0;) {
    std::printf("%lld\n", static_cast<long long>(HeapBytesAtRest(**server)));
    std::fflush(stdout);
  }
}
