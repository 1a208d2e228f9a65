#ifndef LOSSD_SERVER_SHARED_MEMORY_SHARED_REGION_H_
#define LOSSD_SERVER_SHARED_MEMORY_SHARED_REGION_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "lossd/tensor.h"
#include "server/admission/byte_budget.h"

namespace lossd {

// What somebody shares with this server. Thread-safe.
struct SharedAmount {
  std::atomic<int64_t> regions{0};
  std::atomic<int64_t> bytes{0};
};

// Counts a region for as long as it lives: among all, and among those of its peer.
class SharedCount {
 public:
  SharedCount(std::shared_ptr<SharedAmount> all, std::shared_ptr<SharedAmount> of_peer,
              int64_t bytes);
  ~SharedCount();
  SharedCount(const SharedCount&) = delete;
  SharedCount& operator=(const SharedCount&) = delete;

 private:
  const std::shared_ptr<SharedAmount> all_;
  const std::shared_ptr<SharedAmount> of_peer_;
  const int64_t bytes_;
};

// Memory of another process, which may change its contents at any time but not its size: nothing
// that is read here may be read again and trusted. Thread-safe.
class SharedRegion {
 public:
  // What is to be known of memory before it is mapped.
  struct Facts {
    int64_t bytes = 0;
    bool writable = false;
    dev_t device = 0;  // with the inode: which memory it is, however often it is shared
    ino_t inode = 0;
  };

  // kInvalidArgument for a descriptor that is not memory of this kernel's (memfd_create) with a
  // sealed size of at least one byte, for only then can no access to it fail.
  static absl::StatusOr<Facts> Inspect(int fd);

  // Maps all of it and makes its pages present. `grant` is given back with the memory.
  static absl::StatusOr<std::shared_ptr<const SharedRegion>> Map(
      int fd, const Facts& facts, ByteBudget::Grant grant, std::unique_ptr<SharedCount> count);

  SharedRegion(const SharedRegion&) = delete;
  SharedRegion& operator=(const SharedRegion&) = delete;
  ~SharedRegion();

  const Facts& facts() const { return facts_; }

  // kInvalidArgument if bytes offset .. +size do not lie within it.
  absl::StatusOr<ByteSpan> Read(uint64_t offset, int64_t size) const;
  // And if it may not be written to.
  absl::StatusOr<MutableByteSpan> Write(uint64_t offset, int64_t size) const;

 private:
  SharedRegion(std::byte* data, const Facts& facts) : data_(data), facts_(facts) {}
  absl::Status CheckRange(uint64_t offset, int64_t size) const;

  std::byte* const data_;
  const Facts facts_;
  std::unique_ptr<SharedCount> count_;
  ByteBudget::Grant grant_;  // the last: it is given back while its peer is there
};

}  // namespace lossd

#endif  // LOSSD_SERVER_SHARED_MEMORY_SHARED_REGION_H_
