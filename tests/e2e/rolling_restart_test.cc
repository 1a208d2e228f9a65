// Two real servers, restarted in turn, again and again, under a load that never stops: no call
// fails, and every answer has the right bits.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "lossd/client.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/support/process.h"
#include "tests/support/random.h"

namespace lossd {
namespace {

using oracle::BitDifference;
using oracle::CoreAnswer;
using oracle::CoreOutputs;
using oracle::LossCase;

constexpr int kRestartsOfEach = 10;
constexpr int kCallers = 4;
constexpr int64_t kCallsBetween = 40;

// Callers who call without a pause, until the end.
class ConstantLoad {
 public:
  ConstantLoad(const Client& client, std::vector<LossCase> requests)
      : client_(client), requests_(std::move(requests)) {
    for (const LossCase& request : requests_) want_.push_back(oracle::RunCore(request));
    for (int i = 0; i < kCallers; ++i) callers_.emplace_back([this, i] { Call(i); });
  }
  ~ConstantLoad() { End(); }

  // Whether so many calls more end within a minute.
  bool Goes(int64_t calls) {
    const absl::MutexLock lock(&mutex_);
    wanted_ = answered_ + calls;
    return mutex_.AwaitWithTimeout(absl::Condition(this, &ConstantLoad::Gone), absl::Minutes(1));
  }

  // What was not as it should be, a line each.
  std::vector<std::string> End() {
    {
      const absl::MutexLock lock(&mutex_);
      over_ = true;
    }
    for (std::thread& caller : callers_) caller.join();
    callers_.clear();
    const absl::MutexLock lock(&mutex_);
    return faults_;
  }

 private:
  bool Gone() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return answered_ >= wanted_; }

  void Call(int caller) {
    for (int64_t i = caller;; ++i) {
      const size_t which = i % requests_.size();
      CallOptions options{.mode = i % 3 == 0 ? TransferMode::kUnary : TransferMode::kStream};
      if (i % 3 == 2) options.fan_out = 2;
      const std::string fault = Fault(requests_[which], want_[which], options);
      const absl::MutexLock lock(&mutex_);
      ++answered_;
      if (!fault.empty()) faults_.push_back(absl::StrCat("call ", answered_, ": ", fault));
      if (over_) return;
    }
  }

  std::string Fault(const LossCase& request, const CoreAnswer& want, const CallOptions& options) {
    CoreAnswer got;
    got.outputs = CoreOutputs::For(request);
    const absl::StatusOr<LossResult> result =
        client_.Compute(request.spec, request.inputs(), got.outputs.spans(), options);
    if (!result.ok()) return result.status().ToString();
    got.result = *result;
    return BitDifference(got, want);
  }

  Client client_;
  const std::vector<LossCase> requests_;
  std::vector<CoreAnswer> want_;
  absl::Mutex mutex_;
  int64_t answered_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t wanted_ ABSL_GUARDED_BY(mutex_) = 0;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> faults_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> callers_;
};

TEST(RollingRestart, NoCallFailsAndEveryAnswerIsRight) {
  std::optional<ServerProcess> servers[2];
  for (auto& server : servers) server.emplace();
  const std::string addresses[2] = {servers[0]->address(), servers[1]->address()};
  absl::StatusOr<Client> client =
      Client::Connect(absl::StrCat(addresses[0], ",", addresses[1]), {.block_bytes = 16 << 10});
  ASSERT_TRUE(client.ok()) << client.status();

  oracle::Random random(105);
  std::vector<LossCase> requests = {oracle::PlainCase(SoftmaxLoss{}, DType::kF32, 150, 101, random),
                                    oracle::PlainCase(NllLoss{}, DType::kF64, 37, 11, random)};
  requests[0].spec.reduction = Reduction::kValid;
  ConstantLoad load(*client, std::move(requests));
  for (int i = 0; i < kRestartsOfEach; ++i) {
    for (int s = 0; s < 2; ++s) {
      ASSERT_TRUE(load.Goes(kCallsBetween));
      servers[s]->process().Signal(SIGTERM);
      EXPECT_EQ(servers[s]->process().Wait(), 0);
      servers[s].emplace(std::vector<std::string>{addresses[s]});  // until it says that it listens
    }
  }
  ASSERT_TRUE(load.Goes(kCallsBetween));
  EXPECT_EQ(load.End(), std::vector<std::string>());
}

}  // namespace
}  // namespace lossd
