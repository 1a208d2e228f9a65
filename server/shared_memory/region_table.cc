#include "server/shared_memory/region_table.h"

#include <sys/random.h>

#include <utility>

#include "server/admission/refusal.h"

namespace lossd {

absl::StatusOr<RegionTable::Token> RegionTable::Add(std::shared_ptr<const SharedRegion> region) {
  Token token;
  if (getrandom(token.data(), token.size(), 0) != static_cast<ssize_t>(token.size())) {
    return absl::UnavailableError("the system has no random bytes");
  }
  const std::lock_guard lock(mutex_);
  regions_.emplace(token, std::move(region));
  return token;
}

// The last reference may unmap the memory and give its grant back, which is done without the lock.
void RegionTable::Remove(const Token& token) {
  std::shared_ptr<const SharedRegion> removed;
  const std::lock_guard lock(mutex_);
  const auto found = regions_.find(token);
  if (found == regions_.end()) return;
  removed = std::move(found->second);
  regions_.erase(found);
}

absl::StatusOr<std::shared_ptr<const SharedRegion>> RegionTable::Find(const Token& token) const {
  const std::lock_guard lock(mutex_);
  const auto found = regions_.find(token);
  if (found != regions_.end()) return found->second;
  return Refuse(Refusal::kUnknownRegion,
                "no region has this token, or not any more; share the memory again");
}

}  // namespace lossd
