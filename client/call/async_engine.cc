#include "client/call/async_engine.h"

#include <cstdint>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace lossd {

struct AsyncEngine::State {
  explicit State(std::shared_ptr<Transport> transport_in)
      : transport(std::move(transport_in)), driver(*transport) {}

  // Until it is stopped and nothing is under way.
  void Run() {
    int64_t running = 0;
    std::vector<Start> starts;
    while (true) {
      starts.clear();
      {
        const std::lock_guard lock(mutex);
        if (stopped && running == 0 && submitted.empty()) return;
        starts.swap(submitted);
        waiting = starts.empty();
      }
      for (const Start& start : starts) {
        ++running;
        start(driver, [&running] { --running; });
      }
      if (starts.empty()) driver.RunOnce();
    }
  }

  const std::shared_ptr<Transport> transport;  // outlives the driver
  Driver driver;
  std::thread thread;
  std::mutex mutex;
  std::vector<Start> submitted;
  bool waiting = false;  // for events, until it is woken
  bool stopped = false;
};

AsyncEngine::AsyncEngine(std::shared_ptr<Transport> transport)
    : state_(std::make_shared<State>(std::move(transport))) {}

AsyncEngine::~AsyncEngine() {
  std::thread thread;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopped = true;
    thread = std::move(state_->thread);
  }
  if (!thread.joinable()) return;
  state_->driver.queue().Wake();
  if (thread.get_id() == std::this_thread::get_id()) {
    thread.detach();
  } else {
    thread.join();
  }
}

void AsyncEngine::Submit(Start start) {
  const std::lock_guard lock(state_->mutex);
  state_->submitted.push_back(std::move(start));
  if (!state_->thread.joinable()) {
    state_->thread = std::thread([state = state_] { state->Run(); });
  }
  if (std::exchange(state_->waiting, false)) state_->driver.queue().Wake();
}

}  // namespace lossd
