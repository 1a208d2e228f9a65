#include "server/thread_room.h"

#include <limits.h>
#include <pthread.h>

#include <latch>
#include <vector>

#include "absl/strings/str_format.h"

namespace lossd {

absl::Status CheckThreadRoom(int threads) {
  std::latch all(1);  // are started, or one could not be
  std::vector<pthread_t> started;
  started.reserve(threads);
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 4 * PTHREAD_STACK_MIN);
  const auto wait = [](void* latch) -> void* {
    static_cast<std::latch*>(latch)->wait();
    return nullptr;
  };
  for (int i = 0; i < threads; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, &small, wait, &all) != 0) break;
    started.push_back(thread);
  }
  pthread_attr_destroy(&small);
  all.count_down();
  for (const pthread_t thread : started) pthread_join(thread, nullptr);
  if (static_cast<int>(started.size()) == threads) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrFormat("%d threads can be started beside the first; wanted room for %d (ulimit -u, "
                      "the pids limit of the control group, memory)",
                      started.size(), threads));
}

}  // namespace lossd
