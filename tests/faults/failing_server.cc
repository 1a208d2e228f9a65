// A lossd in which one allocation of our own code fails.
//   failing_server N
// Prints where it listens, and lets the N-th allocation after that fail, of those that our objects
// make by themselves: their calls of operator new, realloc and mmap are redirected here by the
// linker (--wrap), while gRPC's, oneTBB's and the C++ library's own go where they always went.
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

std::atomic<long> left{0};  // 0: none fails

bool Fails() { return left.load() > 0 && left.fetch_sub(1) == 1; }

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
  if (argc != 2) return 2;
  lossd::ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  options.threads = 2;
  const auto server = lossd::Server::Start(options);
  if (!server.ok()) return 1;
  std::printf("lossd: listening on %s\n", (*server)->addresses().front().c_str());
  std::fflush(stdout);
  left = std::atol(argv[1]);
  pause();
  return 0;
}
