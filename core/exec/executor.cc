#include "core/exec/executor.h"

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "core/system/usable_threads.h"

namespace lossd {
namespace {

// What this thread is in the middle of.
enum class Occupation : int8_t {
  kNone,     // nothing of ours, or units that it took off another thread
  kTask,     // a submitted task
  kUrgent,   // an urgent task, between units of other work
  kOutside,  // ForEach of a thread that is not one of these
};
thread_local Occupation occupation = Occupation::kNone;

class Occupied {
 public:
  explicit Occupied(Occupation now) : before_(occupation) { occupation = now; }
  ~Occupied() { occupation = before_; }
  Occupied(const Occupied&) = delete;
  Occupied& operator=(const Occupied&) = delete;

 private:
  Occupation before_;
};

}  // namespace

struct Executor::Impl {
  explicit Impl(int threads)
      // TBB counts the calling thread: one more than the workers that Submit keeps busy. No slot is
      // reserved for a caller, so that submitted work has all of them; a caller takes a free one.
      : parallelism(tbb::global_control::max_allowed_parallelism, threads + 1),
        arena(threads, /*reserved_for_masters=*/0) {}

  // Sees to it that a thread takes up what is then next, and goes on until nothing waits. At most
  // as many are summoned as there are threads.
  void Summon();
  bool RunNext();  // false: nothing waits any more, and one less is summoned
  void RunUrgent();
  void ForEachInArena(int64_t count, absl::FunctionRef<void(int64_t)> run_unit);

  tbb::global_control parallelism;
  tbb::task_arena arena;
  std::mutex mutex;
  std::condition_variable none_summoned;
  FairQueue queue;
  std::atomic<int> summoned{0};    // changed with mutex held
  std::atomic<int64_t> urgent{0};  // likewise; queue.urgent()
};

Executor::Executor(int threads)
    : impl_(std::make_unique<Impl>(threads > 0 ? threads : UsableThreads())) {}

Executor::~Executor() {
  std::unique_lock lock(impl_->mutex);
  impl_->none_summoned.wait(lock, [this] { return impl_->summoned == 0; });
}

int Executor::threads() const { return impl_->arena.max_concurrency(); }
bool Executor::busy() const { return impl_->summoned.load(std::memory_order_relaxed) >= threads(); }

// ------------------------------------------------------------------------------------- units

absl::Status Executor::ForEach(int64_t count, StopToken stop,
                               absl::FunctionRef<void(int64_t)> body) {
  const auto run_unit = [&](int64_t unit) {
    if (impl_->urgent.load(std::memory_order_relaxed) > 0) impl_->RunUrgent();
    if (!stop.stop_requested()) body(unit);
  };
  try {
    const bool outside = occupation == Occupation::kNone;
    const Occupied occupied(outside ? Occupation::kOutside : occupation);
    // With no thread to spare, one from outside would only wait for its turn.
    if (count <= 1 || threads() == 1 || (outside && busy())) {
      for (int64_t unit = 0; unit < count; ++unit) run_unit(unit);
    } else {
      impl_->ForEachInArena(count, run_unit);
    }
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("computation failed: ", error.what()));
  }
  return stop.Check();
}

void Executor::Impl::ForEachInArena(int64_t count, absl::FunctionRef<void(int64_t)> run_unit) {
  // Also of a thread that is in the arena already, between units of another request: then it sees
  // to it that what fails there ends nothing here.
  arena.execute([&] {
    // Isolated: while this thread waits it may not pick up units of another request.
    tbb::this_task_arena::isolate([&] {
      tbb::parallel_for(
          tbb::blocked_range<int64_t>(0, count, /*grainsize=*/1),
          [&](const tbb::blocked_range<int64_t>& range) {
            for (int64_t unit = range.begin(); unit < range.end(); ++unit) run_unit(unit);
          },
          tbb::simple_partitioner());
    });
  });
}

// ------------------------------------------------------------------------------------- tasks

void Executor::Submit(Task* task, const Order& order) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->queue.Push(task, order.share, order.bytes, order.urgent);
    impl_->urgent = impl_->queue.urgent();
    if (impl_->summoned >= threads()) return;
    ++impl_->summoned;
  }
  impl_->Summon();
}

void Executor::Impl::Summon() {
  try {
    // One task each, not a loop: others may wait in TBB for a thread.
    return arena.enqueue([this] {
      if (RunNext()) Summon();
    });
  } catch (const std::exception&) {
    while (RunNext()) {
    }
  }
}

bool Executor::Impl::RunNext() {
  Task* task = nullptr;
  {
    const std::lock_guard lock(mutex);
    task = queue.Pop();
    urgent = queue.urgent();
  }
  if (task != nullptr) {
    const Occupied occupied(Occupation::kTask);
    task->Run();
  }
  const std::lock_guard lock(mutex);
  if (!queue.empty()) return true;
  if (--summoned == 0) none_summoned.notify_all();
  return false;
}

void Executor::Impl::RunUrgent() {
  if (occupation == Occupation::kUrgent || occupation == Occupation::kOutside) return;
  Task* task = nullptr;
  {
    const std::lock_guard lock(mutex);
    task = queue.PopUrgent();
    urgent = queue.urgent();
  }
  if (task == nullptr) return;
  const Occupied occupied(Occupation::kUrgent);
  task->Run();
}

}  // namespace lossd
