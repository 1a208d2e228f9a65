#include "client/shared_memory/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/shared_memory/region_connection.h"
#include "lossd/shared_buffer.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

// The shared memory of this process, by its first byte.
struct AllMemory {
  std::mutex mutex;
  std::map<const std::byte*, std::weak_ptr<const SharedMemory>, std::less<>> by_begin;
};

AllMemory& All() {
  static auto& all = *new AllMemory;
  return all;
}

absl::Status CannotMake(int error) {
  return absl::UnavailableError(
      absl::StrCat("cannot make shared memory: ", absl::ErrnoToStatus(error, "").message()));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const SharedMemory>> SharedMemory::Make(int64_t bytes) {
  if (bytes < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a shared buffer of ", bytes, " bytes; wanted at least 1"));
  }
  const int descriptor = memfd_create("lossd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return CannotMake(errno);
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  void* data = MAP_FAILED;
  if (ftruncate(descriptor, bytes) == 0 && fcntl(descriptor, F_ADD_SEALS, kSeals) == 0) {
    data = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor,
                0);
  }
  if (data == MAP_FAILED) {
    const int error = errno;
    close(descriptor);
    return CannotMake(error);
  }
  auto* const begin = static_cast<std::byte*>(data);
  std::shared_ptr<const SharedMemory> memory(
      new SharedMemory(descriptor, {begin, static_cast<size_t>(bytes)}));
  const std::lock_guard lock(All().mutex);
  All().by_begin[begin] = memory;
  return memory;
}

// The entry goes before the addresses can be those of other memory.
SharedMemory::~SharedMemory() {
  {
    const std::lock_guard lock(All().mutex);
    All().by_begin.erase(bytes_.data());
  }
  for (const std::weak_ptr<RegionConnection>& ended : connections_) {
    if (const auto connection = ended.lock()) connection->End();
  }
  munmap(bytes_.data(), bytes_.size());
  close(descriptor_);
}

void SharedMemory::EndsWithThis(std::weak_ptr<RegionConnection> connection) const {
  const std::lock_guard lock(mutex_);
  std::erase_if(connections_, [](const auto& other) { return other.expired(); });
  connections_.push_back(std::move(connection));
}

std::shared_ptr<const SharedMemory> SharedMemory::Of(ByteSpan bytes) {
  const std::lock_guard lock(All().mutex);
  auto after = All().by_begin.upper_bound(bytes.data());
  if (bytes.empty() || after == All().by_begin.begin()) return nullptr;
  std::shared_ptr<const SharedMemory> memory = std::prev(after)->second.lock();
  if (memory == nullptr) return nullptr;
  const std::less_equal<> at_most;
  const std::byte* const end = memory->bytes_.data() + memory->bytes_.size();
  return at_most(bytes.data() + bytes.size(), end) ? memory : nullptr;
}

absl::StatusOr<SharedBuffer> SharedBuffer::Make(int64_t bytes) {
  LOSSD_ASSIGN_OR_RETURN(std::shared_ptr<const SharedMemory> memory, SharedMemory::Make(bytes));
  const MutableByteSpan all = memory->bytes();
  return SharedBuffer(std::move(memory), all);
}

}  // namespace lossd
