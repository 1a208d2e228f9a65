#ifndef LOSSD_SERVER_SHARED_MEMORY_REGION_TABLE_H_
#define LOSSD_SERVER_SHARED_MEMORY_REGION_TABLE_H_

#include <map>
#include <memory>
#include <mutex>

#include "absl/status/statusor.h"
#include "protos/wire/message.h"
#include "server/shared_memory/shared_region.h"

namespace lossd {

// The regions that clients share with this server, by their tokens. Thread-safe.
class RegionTable {
 public:
  using Token = wire::Region::Token;

  // Gives `region` a token that nobody can guess. kUnavailable if the system has no random bytes.
  absl::StatusOr<Token> Add(std::shared_ptr<const SharedRegion> region);

  // Calls that found the region go on.
  void Remove(const Token& token);

  // The region, for as long as the caller keeps it. Refusal::kUnknownRegion if there is none.
  absl::StatusOr<std::shared_ptr<const SharedRegion>> Find(const Token& token) const;

  const std::shared_ptr<SharedAmount>& amount() const { return amount_; }

 private:
  const std::shared_ptr<SharedAmount> amount_ = std::make_shared<SharedAmount>();
  mutable std::mutex mutex_;
  std::map<Token, std::shared_ptr<const SharedRegion>> regions_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_SHARED_MEMORY_REGION_TABLE_H_
