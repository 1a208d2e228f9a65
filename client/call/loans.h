#ifndef LOSSD_CLIENT_CALL_LOANS_H_
#define LOSSD_CLIENT_CALL_LOANS_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "protos/wire/message.h"
#include "protos/wire/writer.h"

namespace lossd {

// Counts the pieces of the caller's memory that are lent to the transport. They are lent by one
// thread and come back on any.
class Loans {
 public:
  Loans() = default;
  // A copy has lent nothing.
  Loans(const Loans&) {}
  Loans& operator=(const Loans&) = delete;

  // Lends memory for one message; what a message copies is not lent at all. It counts as returned
  // when the last copy of the payload's `release` is gone, so also where the payload is dropped
  // without being sent.
  wire::Payload Lend(ByteSpan bytes) const {
    if (bytes.size() <= wire::kCopiedBytes) return {bytes, nullptr};
    if (count_ == nullptr) count_ = std::make_shared<std::atomic<int64_t>>(0);
    count_->fetch_add(1, std::memory_order_relaxed);
    // Release and acquire: what the caller does with the memory next comes after all reading of it.
    const std::shared_ptr<void> loan(
        nullptr, [count = count_](void*) { count->fetch_sub(1, std::memory_order_release); });
    return {bytes, [loan] {}};
  }

  bool AllReturned() const {
    return count_ == nullptr || count_->load(std::memory_order_acquire) == 0;
  }

 private:
  mutable std::shared_ptr<std::atomic<int64_t>> count_;  // once something is lent
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_LOANS_H_
