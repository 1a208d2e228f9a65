#include "tests/core/trapped_memory.h"

#include <signal.h>
#include <sys/mman.h>

#include <cstdlib>

namespace lossd::testing {
namespace {

constexpr int64_t kPage = 4096;
constexpr int kMost = 8;
std::atomic<TrappedMemory*> all[kMost];

std::atomic<int64_t> sprung{0};
int64_t limit = -1;
std::atomic<bool>* limit_flag = nullptr;

}  // namespace

// What happens in the signal handler.
struct Trap {
  static void OnFault(int signal, siginfo_t* info, void*) {
    auto* const address = static_cast<std::byte*>(info->si_addr);
    for (const std::atomic<TrappedMemory*>& slot : all) {
      TrappedMemory* const memory = slot;
      if (memory == nullptr || address < memory->data_ ||
          address >= memory->data_ + memory->size_) {
        continue;
      }
      if (memory->open_ != nullptr) mprotect(memory->open_, kPage, PROT_NONE);
      memory->open_ = memory->data_ + (address - memory->data_) / kPage * kPage;
      mprotect(memory->open_, kPage, PROT_READ | PROT_WRITE);
      if (sprung++ == limit && limit_flag != nullptr) *limit_flag = true;
      return;
    }
    std::abort();  // a fault of somebody else's
  }
};

TrappedMemory::TrappedMemory(int64_t size) : size_(size) {
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_sigaction = &Trap::OnFault;
    action.sa_flags = SA_SIGINFO;
    return sigaction(SIGSEGV, &action, nullptr) == 0;
  }();
  static_cast<void>(installed);
  data_ = static_cast<std::byte*>(
      mmap(nullptr, size + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (std::atomic<TrappedMemory*>& slot : all) {
    TrappedMemory* none = nullptr;
    if (slot.compare_exchange_strong(none, this)) return;
  }
  std::abort();
}

TrappedMemory::~TrappedMemory() {
  for (std::atomic<TrappedMemory*>& slot : all) {
    TrappedMemory* self = this;
    slot.compare_exchange_strong(self, nullptr);
  }
  munmap(data_, size_ + kPage);
}

void TrappedMemory::Arm() {
  open_ = nullptr;
  for (int64_t at = 0; at + kPage <= size_; at += kStride) mprotect(data_ + at, kPage, PROT_NONE);
}

void TrappedMemory::Disarm() {
  open_ = nullptr;
  mprotect(data_, size_ + kPage, PROT_READ | PROT_WRITE);
}

int64_t Sprung() { return sprung; }

void Count(int64_t at, std::atomic<bool>* flag) {
  sprung = 0;
  limit = at;
  limit_flag = flag;
}

}  // namespace lossd::testing
