#include "server/memory/buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

namespace lossd {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;
// Below this the general allocator is as good: it does not go to the system for small sizes.
constexpr size_t kMinMapped = size_t{64} << 10;

// Sizes are rounded up to one of eight steps per power of two, so that buffers of nearly equal
// sizes stand in for each other and at most an eighth is wasted.
size_t RoundUp(size_t size) {
  if (size < kMinMapped) return size;
  const size_t step = std::max(kPage, std::bit_floor(size) / 8);
  return (size + step - 1) / step * step;
}

std::byte* Map(size_t capacity) {
  const size_t slack = capacity >= kHugePage ? kHugePage : 0;
  void* mapped =
      mmap(nullptr, capacity + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(mapped);
  if (slack == 0) return begin;
  const size_t before = -reinterpret_cast<uintptr_t>(begin) % kHugePage;
  if (before > 0) munmap(begin, before);
  if (before < slack) munmap(begin + before + capacity, slack - before);
  // Only a hint: without huge pages the buffer works as well.
  madvise(begin + before, capacity, MADV_HUGEPAGE);
  return begin + before;
}

std::byte* Allocate(size_t capacity) {
  if (capacity >= kMinMapped) return Map(capacity);
  return static_cast<std::byte*>(
      ::operator new (capacity, std::align_val_t{BufferPool::kAlignment}, std::nothrow));
}

void Deallocate(std::byte* data, size_t capacity) {
  if (capacity >= kMinMapped) {
    munmap(data, capacity);
  } else {
    ::operator delete (data, std::align_val_t{BufferPool::kAlignment});
  }
}

}  // namespace

struct BufferPool::State {
  struct Idle {
    std::byte* data;
    int64_t since;  // value of `trims` when it came back
  };

  explicit State(int64_t max) : max_idle_bytes(max) {}
  ~State() {
    for (const auto& [capacity, buffers] : idle) {
      for (const Idle& buffer : buffers) Deallocate(buffer.data, capacity);
    }
  }

  void Return(std::byte* data, size_t capacity);

  const int64_t max_idle_bytes;
  mutable std::mutex mutex;
  std::map<size_t, std::vector<Idle>> idle;  // by capacity; the one used last is at the back
  int64_t idle_bytes = 0;
  int64_t loaned_bytes = 0;
  int64_t trims = 0;
};

void BufferPool::State::Return(std::byte* data, size_t capacity) {
  {
    const std::lock_guard lock(mutex);
    const auto bytes = static_cast<int64_t>(capacity);
    loaned_bytes -= bytes;
    if (capacity >= kMinMapped && idle_bytes + bytes <= max_idle_bytes) {
      idle[capacity].push_back({data, trims});
      idle_bytes += bytes;
      return;
    }
  }
  Deallocate(data, capacity);
}

BufferPool::BufferPool(int64_t max_idle_bytes) : state_(std::make_shared<State>(max_idle_bytes)) {}

absl::StatusOr<BufferPool::Buffer> BufferPool::Take(int64_t size) {
  Buffer buffer;
  if (size == 0) return buffer;
  const size_t capacity = RoundUp(static_cast<size_t>(size));
  {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->idle.find(capacity);
    if (found != state_->idle.end()) {
      buffer.data_ = found->second.back().data;
      found->second.pop_back();
      if (found->second.empty()) state_->idle.erase(found);
      state_->idle_bytes -= static_cast<int64_t>(capacity);
    }
  }
  if (buffer.data_ == nullptr) buffer.data_ = Allocate(capacity);
  if (buffer.data_ == nullptr) {
    return absl::UnavailableError(
        absl::StrFormat("out of memory: no %d bytes for an output", size));
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->loaned_bytes += static_cast<int64_t>(capacity);
  }
  buffer.pool_ = state_;
  buffer.size_ = static_cast<size_t>(size);
  buffer.capacity_ = capacity;
  return buffer;
}

void BufferPool::Trim() {
  std::vector<std::pair<std::byte*, size_t>> unused;
  {
    const std::lock_guard lock(state_->mutex);
    for (auto it = state_->idle.begin(); it != state_->idle.end();) {
      auto& [capacity, buffers] = *it;
      // Buffers come back to the end, so those idle longest are at the front.
      const auto recent = std::find_if(buffers.begin(), buffers.end(), [&](const State::Idle& b) {
        return b.since == state_->trims;
      });
      for (auto old = buffers.begin(); old != recent; ++old) {
        unused.emplace_back(old->data, capacity);
        state_->idle_bytes -= static_cast<int64_t>(capacity);
      }
      buffers.erase(buffers.begin(), recent);
      it = buffers.empty() ? state_->idle.erase(it) : std::next(it);
    }
    ++state_->trims;
  }
  for (const auto& [data, capacity] : unused) Deallocate(data, capacity);
}

int64_t BufferPool::idle_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->idle_bytes;
}

int64_t BufferPool::loaned_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->loaned_bytes;
}

BufferPool::Buffer::~Buffer() {
  if (data_ != nullptr) pool_->Return(data_, capacity_);
}

void BufferPool::Buffer::Swap(Buffer& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
}

std::function<void()> BufferPool::Buffer::IntoRelease() && {
  return [held = std::make_shared<Buffer>(std::move(*this))]() mutable { held.reset(); };
}

}  // namespace lossd
