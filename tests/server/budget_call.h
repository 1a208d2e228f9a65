#ifndef LOSSD_TESTS_SERVER_BUDGET_CALL_H_
#define LOSSD_TESTS_SERVER_BUDGET_CALL_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "server/admission/byte_budget.h"

namespace lossd {

inline constexpr int64_t kMiB = 1 << 20;

// A call that asks for memory. `answers` counts how often it was told.
class BudgetCall final : public ByteBudget::Waiter {
 public:
  BudgetCall(ByteBudget& budget, PeerKey peer, int64_t bytes, Instant now,
             Instant deadline = Instant::max())
      : budget_(budget), bytes_(bytes), now_(now) {
    auto at_once = budget.Acquire({.peer = peer, .bytes = bytes, .deadline = deadline}, now, this);
    if (at_once) OnAnswer(*std::move(at_once));
  }
  ~BudgetCall() {
    if (waits()) budget_.Withdraw(this, now_);
  }
  BudgetCall(const BudgetCall&) = delete;
  BudgetCall& operator=(const BudgetCall&) = delete;

  bool waits() const { return answers == 0; }
  bool granted() const { return grant.has_value(); }
  std::optional<Refusal> refusal() const { return RefusalOf(status); }

  int answers = 0;
  std::optional<ByteBudget::Grant> grant;
  absl::Status status;

 private:
  void OnAnswer(absl::StatusOr<ByteBudget::Grant> answer) override {
    ++answers;
    status = answer.status();
    if (answer.ok()) {
      EXPECT_EQ(answer->bytes(), bytes_);
      grant = *std::move(answer);
    }
  }

  ByteBudget& budget_;
  const int64_t bytes_;
  const Instant now_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_SERVER_BUDGET_CALL_H_
