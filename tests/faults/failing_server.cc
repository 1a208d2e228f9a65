// A lossd in which one allocation of our own code fails.
//   failing_server N [COUNT]
// Prints where it listens, and lets the N-th allocation after that fail (and those behind it, COUNT
// in all), of those that our objects make by themselves: their calls of operator new, realloc and
// mmap are redirected here by the linker (--wrap), while gRPC's, oneTBB's and the C++ library's own
// go where they always went.
#include <execinfo.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>

#include "server/server.h"

namespace {

std::atomic<long> left{0};  // 1: the next one fails, and so on down to `last`
std::atomic<long> last{1};

// Where it was, for addr2line: which allocation one does not survive.
void TellWhere() {
  void* frames[40];
  backtrace_symbols_fd(frames, backtrace(frames, 40), STDERR_FILENO);
}

bool Fails() {
  if (left.load() < last.load()) return false;
  const long now = left.fetch_sub(1);
  if (now > 1 || now < last.load()) return false;
  if (std::getenv("LOSSD_TELL_WHERE") != nullptr) TellWhere();
  return true;
}

}  // namespace

extern "C" {

void* __real__Znwm(size_t size);
void* __wrap__Znwm(size_t size) {
  if (Fails()) throw std::bad_alloc();
  return __real__Znwm(size);
}
void* __real__Znam(size_t size);
void* __wrap__Znam(size_t size) {
  if (Fails()) throw std::bad_alloc();
  return __real__Znam(size);
}
void* __real__ZnwmSt11align_val_t(size_t size, std::align_val_t align);
void* __wrap__ZnwmSt11align_val_t(size_t size, std::align_val_t align) {
  if (Fails()) throw std::bad_alloc();
  return __real__ZnwmSt11align_val_t(size, align);
}
void* __real_realloc(void* memory, size_t size);
void* __wrap_realloc(void* memory, size_t size) {
  return Fails() ? nullptr : __real_realloc(memory, size);
}
void* __real_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset);
void* __wrap_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) {
  if (!Fails()) return __real_mmap(at, size, protection, flags, fd, offset);
  errno = ENOMEM;
  return MAP_FAILED;
}

}  // extern "C"

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) return 2;
  lossd::ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  options.threads = 2;
  void* frame = nullptr;
  backtrace(&frame, 1);  // loads what it needs
  const auto server = lossd::Server::Start(options);
  if (!server.ok()) return 1;
  std::printf("lossd: listening on %s\n", (*server)->addresses().front().c_str());
  std::fflush(stdout);
  if (std::getenv("LOSSD_TELL_WHERE") != nullptr) dprintf(STDERR_FILENO, "n=%s\n", argv[1]);
  last = argc == 3 ? 2 - std::atol(argv[2]) : 1;
  left = std::atol(argv[1]);
  pause();
  return 0;
}
