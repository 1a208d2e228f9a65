// Who is served when: a model of threads that take tasks from a FairQueue, in virtual time.
#include "core/exec/fair_queue.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/random.h"

namespace lossd {
namespace {

using oracle::Random;
using oracle::TestSeed;

constexpr int64_t kKiB = 1 << 10;
constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kGiB = 1 << 30;

// Work of one share that goes on for ever. A thread takes a byte per tick.
struct Source {
  int share = 0;
  bool urgent = false;
  std::function<int64_t()> cost;
  int64_t pause = -1;  // from the end of a task to the next; -1: waits again as soon as it is taken

  int64_t served = 0;
  int64_t longest_wait = 0;
};

// `threads` threads and one queue. Each source has one task, as a call has.
class Model {
 public:
  explicit Model(int threads) : free_at_(threads) {}

  Source& Add(Source source) {
    if (static_cast<size_t>(source.share) >= shares_.size()) shares_.resize(source.share + 1);
    if (shares_[source.share] == nullptr) shares_[source.share] = std::make_unique<Share>();
    Call& call = calls_.emplace_back();
    call.source = std::move(source);
    call.due = 0;
    return call.source;
  }

  // Until the threads have done `bytes` more.
  void Run(int64_t bytes) {
    for (int64_t done = 0; done < bytes;) {
      int64_t& thread = *std::min_element(free_at_.begin(), free_at_.end());
      thread = std::max(thread, now_);
      Arrive(thread);
      if (queue_.empty()) {
        thread = NextDue();
        continue;
      }
      now_ = thread;
      auto* const call = static_cast<Call*>(queue_.Pop());
      done += call->cost;
      Serve(*call, thread);
    }
  }

  int64_t served(int share) const {
    int64_t sum = 0;
    for (const Call& call : calls_) sum += call.source.share == share ? call.source.served : 0;
    return sum;
  }
  void Forget() {
    for (Call& call : calls_) call.source.served = 0;
  }

 private:
  struct Call final : Task {
    void Run() override {}
    Source source;
    int64_t due = 0;  // -1: waits
    int64_t since = 0;
    int64_t cost = 0;
  };

  void Arrive(int64_t now) {
    for (Call& call : calls_) {
      if (call.due < 0 || call.due > now) continue;
      call.since = call.due;
      call.due = -1;
      call.cost = call.source.cost();
      queue_.Push(&call, shares_[call.source.share].get(), call.cost, call.source.urgent);
    }
  }
  int64_t NextDue() const {
    int64_t next = INT64_MAX;
    for (const Call& call : calls_) next = std::min(next, call.due);
    return next;
  }
  void Serve(Call& call, int64_t& thread) {
    Source& source = call.source;
    source.served += call.cost;
    source.longest_wait = std::max(source.longest_wait, thread - call.since);
    call.due = source.pause < 0 ? thread : thread + call.cost + source.pause;
    thread += call.cost;
  }

  FairQueue queue_;
  std::vector<std::unique_ptr<Share>> shares_;
  std::deque<Call> calls_;  // in one place each
  std::vector<int64_t> free_at_;
  int64_t now_ = 0;
};

std::function<int64_t()> Always(int64_t bytes) {
  return [bytes] { return bytes; };
}
std::function<int64_t()> Between(int64_t least, int64_t most, Random& random) {
  return [=, &random] { return least + random.Below(most - least + 1); };
}

double ShareOf(const Model& model, int share, int shares) {
  int64_t all = 0;
  for (int i = 0; i < shares; ++i) all += model.served(i);
  return static_cast<double>(model.served(share)) / static_cast<double>(all);
}

TEST(FairQueue, OneStreamGetsAsMuchAsMany) {
  for (uint64_t stream = 0; stream < 50; ++stream) {
    SCOPED_TRACE(::testing::Message() << "LOSSD_TEST_SEED=" << TestSeed() << " " << stream);
    Random random(stream);
    Model model(1 << random.Below(4));
    model.Add({.share = 0, .cost = Between(64 * kKiB, 8 * kMiB, random)});
    const int64_t many = 2 + random.Below(60);
    for (int64_t i = 0; i < many; ++i) {
      model.Add({.share = 1, .cost = Between(64 * kKiB, 8 * kMiB, random)});
    }
    model.Run(4 * kGiB);
    EXPECT_NEAR(ShareOf(model, 0, 2), 0.5, 0.01);
  }
}

TEST(FairQueue, TheSizeOfTasksDoesNotMatter) {
  for (const int64_t large : {kMiB, 8 * kMiB, 64 * kMiB}) {
    for (const int threads : {1, 2, 8}) {
      Model model(threads);
      for (int i = 0; i < 8; ++i) {
        model.Add({.share = 0, .cost = Always(64 * kKiB)});
        model.Add({.share = 1, .cost = Always(large)});
        model.Add({.share = 2, .cost = Always(3 * kMiB)});
      }
      model.Run(16 * kGiB);
      for (int share = 0; share < 3; ++share) {
        EXPECT_NEAR(ShareOf(model, share, 3), 1. / 3, 0.01) << large << " " << threads;
      }
    }
  }
}

// Both the tasks of one's own share and those of twenty others.
TEST(FairQueue, SmallOnesDoNotWaitBehindLargeOnes) {
  for (const int threads : {1, 2, 8}) {
    Model model(threads);
    for (int share = 0; share < 20; ++share) {
      for (int i = 0; i < 4; ++i) model.Add({.share = share, .cost = Always(4 * kMiB)});
    }
    const Source& own =
        model.Add({.share = 3, .urgent = true, .cost = Always(100 * kKiB), .pause = 64 * kMiB});
    const Source& other =
        model.Add({.share = 20, .urgent = true, .cost = Always(100 * kKiB), .pause = 50 * kMiB});
    model.Run(16 * kGiB);
    // What is begun goes on; nothing else is in front of them.
    EXPECT_LE(own.longest_wait, 4 * kMiB) << threads;
    EXPECT_LE(other.longest_wait, 4 * kMiB) << threads;
    EXPECT_GT(own.served, 0);
    EXPECT_GT(other.served, 0);
  }
}

TEST(FairQueue, AFloodOfSmallOnesStarvesNobody) {
  for (const int threads : {1, 2, 8}) {
    Model model(threads);
    const Source& own = model.Add({.share = 0, .cost = Always(4 * kMiB)});
    for (int i = 0; i < 200; ++i) {
      model.Add({.share = 0, .urgent = true, .cost = Always(kMiB)});
    }
    model.Add({.share = 1, .cost = Always(4 * kMiB)});
    model.Run(8 * kGiB);
    EXPECT_NEAR(ShareOf(model, 0, 2), 0.5, 0.01) << threads;
    EXPECT_GE(own.served, model.served(0) * 45 / 100) << threads;
  }
}

// A share that is out of work after each task, since its next comes with a delay, gets its part
// although the other, which is urgent, never is.
TEST(FairQueue, AShortPauseCostsNothing) {
  for (const bool urgent : {false, true}) {
    Model model(1);
    for (int i = 0; i < 2; ++i) {
      model.Add({.share = 0, .cost = Always(2 * kMiB), .pause = 100 * kKiB});
    }
    for (int i = 0; i < 50; ++i) {
      model.Add({.share = 1, .urgent = urgent, .cost = Always(500 * kKiB)});
    }
    model.Run(4 * kGiB);
    EXPECT_NEAR(ShareOf(model, 0, 2), 0.5, 0.03) << urgent;
  }
}

TEST(FairQueue, IdleTimeIsNotSavedUp) {
  Model model(2);
  for (int i = 0; i < 4; ++i) model.Add({.share = 0, .cost = Always(4 * kMiB)});
  model.Run(10 * kGiB);
  for (int i = 0; i < 4; ++i) model.Add({.share = 1, .cost = Always(4 * kMiB)});
  model.Forget();
  model.Run(kGiB);
  EXPECT_NEAR(ShareOf(model, 1, 2), 0.5, 0.02);
  EXPECT_GT(ShareOf(model, 1, 2), 0.5);  // who is new comes first, for a moment
}

// Any order of pushes and pops: each task comes out once, those of a lane in their order, and the
// queue knows what it has.
TEST(FairQueue, LosesNothing) {
  struct Numbered final : Task {
    void Run() override {}
    int lane = 0;
    int64_t number = -1;
  };
  for (uint64_t stream = 0; stream < 200; ++stream) {
    SCOPED_TRACE(::testing::Message() << "LOSSD_TEST_SEED=" << TestSeed() << " " << stream);
    Random random(stream);
    FairQueue queue;
    std::vector<Share> shares(1 + random.Below(5));
    std::deque<Numbered> tasks(1 + random.Below(40));
    std::vector<Task*> idle;
    idle.reserve(tasks.size());
    for (Numbered& task : tasks) idle.push_back(&task);
    std::vector<int64_t> pushed(2 * shares.size()), popped(2 * shares.size());
    int64_t urgent = 0;
    for (int step = 0; step < 2000; ++step) {
      if (!idle.empty() && random.OneIn(2)) {
        std::swap(idle[random.Below(static_cast<int64_t>(idle.size()))], idle.back());
        auto* const task = static_cast<Numbered*>(idle.back());
        idle.pop_back();
        task->lane = static_cast<int>(random.Below(static_cast<int64_t>(pushed.size())));
        task->number = pushed[task->lane]++;
        const bool is_urgent = task->lane % 2 != 0;
        urgent += is_urgent ? 1 : 0;
        queue.Push(task, &shares[task->lane / 2], random.Below(20 * kMiB), is_urgent);
      } else {
        const bool only_urgent = random.OneIn(3);
        auto* const task = static_cast<Numbered*>(only_urgent ? queue.PopUrgent() : queue.Pop());
        if (task == nullptr) {
          EXPECT_TRUE(only_urgent || idle.size() == tasks.size());
          continue;
        }
        EXPECT_TRUE(!only_urgent || task->lane % 2 != 0);
        EXPECT_EQ(task->number, popped[task->lane]++);
        urgent -= task->lane % 2;
        idle.push_back(task);
      }
      EXPECT_EQ(queue.empty(), idle.size() == tasks.size());
      EXPECT_EQ(queue.urgent(), urgent);
    }
  }
}

}  // namespace
}  // namespace lossd
