#include "client/shared_memory/shared_regions.h"

#include <algorithm>

namespace lossd {
namespace {

constexpr std::chrono::seconds kOfferAgain{1};

}  // namespace

SharedRegions::Shared& SharedRegions::Share(const std::shared_ptr<const SharedMemory>& memory) {
  std::erase_if(shared_, [](const Shared& shared) { return shared.memory.expired(); });
  auto found = std::find_if(shared_.begin(), shared_.end(), [&memory](const Shared& shared) {
    return shared.memory.lock() == memory;
  });
  const Clock::time_point now = Clock::now();
  if (found == shared_.end()) found = shared_.insert(found, Shared{memory, nullptr, now});
  if (found->connection != nullptr || now < found->again) return *found;
  absl::StatusOr<std::unique_ptr<RegionConnection>> connection =
      RegionConnection::Share(path_, memory->descriptor());
  if (connection.ok()) {
    found->connection = *std::move(connection);
    memory->EndsWithThis(found->connection);
  }
  found->again = Clock::now() + kOfferAgain;
  return *found;
}

std::optional<wire::Region> SharedRegions::RegionOf(ByteSpan bytes) {
  const std::shared_ptr<const SharedMemory> memory = SharedMemory::Of(bytes);
  if (memory == nullptr) return std::nullopt;
  const auto offset = static_cast<uint64_t>(bytes.data() - memory->bytes().data());
  if (offset % wire::Region::kAlignment != 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const Shared& shared = Share(memory);
  if (shared.connection == nullptr) return std::nullopt;
  return wire::Region{shared.connection->token(), offset};
}

void SharedRegions::Forget(const wire::Region::Token& token) {
  const std::lock_guard lock(mutex_);
  std::erase_if(shared_, [&token](const Shared& shared) {
    return shared.connection != nullptr && shared.connection->token() == token;
  });
}

void SharedRegions::WaitUntilQuiet(const wire::Region::Token& token) {
  std::shared_ptr<RegionConnection> connection;
  {
    const std::lock_guard lock(mutex_);
    for (const Shared& shared : shared_) {
      if (shared.connection == nullptr || shared.connection->token() != token) continue;
      connection = shared.connection;
    }
  }
  if (connection != nullptr && !connection->WaitUntilQuiet()) Forget(token);
}

}  // namespace lossd
