#include "core/exec/executor.h"

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd {

struct Executor::Impl {
  explicit Impl(int threads)
      // TBB counts the calling thread: one more than the workers that Submit keeps busy. No slot is
      // reserved for a caller, so that submitted work has all of them; a caller takes a free one.
      : parallelism(tbb::global_control::max_allowed_parallelism, threads + 1),
        arena(threads, /*reserved_for_masters=*/0) {}

  tbb::global_control parallelism;
  tbb::task_arena arena;
};

Executor::Executor(int threads)
    : impl_(std::make_unique<Impl>(threads > 0 ? threads : UsableThreads())) {}
Executor::~Executor() = default;

int Executor::threads() const { return impl_->arena.max_concurrency(); }

absl::Status Executor::ForEach(int64_t count, StopToken stop,
                               absl::FunctionRef<void(int64_t)> body) {
  const auto run_unit = [&](int64_t unit) {
    if (!stop.stop_requested()) body(unit);
  };
  try {
    if (count <= 1 || threads() == 1) {
      for (int64_t unit = 0; unit < count; ++unit) run_unit(unit);
    } else {
      impl_->arena.execute([&] {
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
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("computation failed: ", error.what()));
  }
  if (stop.stop_requested()) return absl::CancelledError("the computation was stopped");
  return absl::OkStatus();
}

void Executor::Submit(std::function<void()> work) { impl_->arena.enqueue(std::move(work)); }

}  // namespace lossd
