#ifndef LOSSD_CLIENT_SHARED_MEMORY_SHARED_MEMORY_H_
#define LOSSD_CLIENT_SHARED_MEMORY_SHARED_MEMORY_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"
#include "lossd/tensor.h"

namespace lossd {

class RegionConnection;

// What a SharedBuffer stands for: memory with a sealed size, mapped here, and the descriptor by
// which others can map it.
class SharedMemory {
 public:
  static absl::StatusOr<std::shared_ptr<const SharedMemory>> Make(int64_t bytes);

  // That of this process in which all of `bytes` lie; null: there is none.
  static std::shared_ptr<const SharedMemory> Of(ByteSpan bytes);

  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  MutableByteSpan bytes() const { return bytes_; }
  int descriptor() const { return descriptor_; }

  // Ends the connection, if it is still there, with this.
  void EndsWithThis(std::weak_ptr<RegionConnection> connection) const;

 private:
  SharedMemory(int descriptor, MutableByteSpan bytes) : descriptor_(descriptor), bytes_(bytes) {}

  const int descriptor_;
  const MutableByteSpan bytes_;
  mutable std::mutex mutex_;
  mutable std::vector<std::weak_ptr<RegionConnection>> connections_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_SHARED_MEMORY_SHARED_MEMORY_H_
