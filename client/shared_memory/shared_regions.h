#ifndef LOSSD_CLIENT_SHARED_MEMORY_SHARED_REGIONS_H_
#define LOSSD_CLIENT_SHARED_MEMORY_SHARED_REGIONS_H_

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/shared_memory/region_connection.h"
#include "client/shared_memory/shared_memory.h"
#include "protos/wire/message.h"

namespace lossd {

// What a client shares with its server: each memory once, from when it is first used until the
// memory or this is gone. Thread-safe.
class SharedRegions {
 public:
  // `path` of the server's Unix socket.
  explicit SharedRegions(std::string path) : path_(std::move(path)) {}

  // The region in which `bytes` lie; shares their memory if it is not shared yet. nullopt: they are
  // in no SharedBuffer, or not aligned, or the server does not take the memory, which is then not
  // offered again for a second.
  std::optional<wire::Region> RegionOf(ByteSpan bytes);

  // The server does not know the token any more: the memory is shared anew when it is used next.
  void Forget(const wire::Region::Token& token);

  // Waits until no call uses the region; where that takes too long, the region is given up.
  void WaitUntilQuiet(const wire::Region::Token& token);

 private:
  using Clock = std::chrono::steady_clock;

  struct Shared {
    std::weak_ptr<const SharedMemory> memory;
    std::shared_ptr<RegionConnection> connection;  // null: the server did not take it
    Clock::time_point again;                       // then: when to offer it again
  };

  Shared& Share(const std::shared_ptr<const SharedMemory>& memory);

  const std::string path_;
  std::mutex mutex_;
  std::vector<Shared> shared_;  // a handful
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_SHARED_MEMORY_SHARED_REGIONS_H_
