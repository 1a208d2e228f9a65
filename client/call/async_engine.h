#ifndef LOSSD_CLIENT_CALL_ASYNC_ENGINE_H_
#define LOSSD_CLIENT_CALL_ASYNC_ENGINE_H_

#include <functional>
#include <memory>

#include "client/call/driver.h"
#include "client/transport/transport.h"

namespace lossd {

// One thread that drives all asynchronous calls. It starts with the first.
class AsyncEngine {
 public:
  explicit AsyncEngine(std::shared_ptr<Transport> transport);

  // Waits for all calls, unless it is called by one of them: then the thread ends by itself.
  ~AsyncEngine();
  AsyncEngine(const AsyncEngine&) = delete;
  AsyncEngine& operator=(const AsyncEngine&) = delete;

  // Starts a call on the engine's thread: `start` gets the driver and a function to be called once
  // when the call is over. Thread-safe.
  using Start = std::function<void(Driver& driver, std::function<void()> ended)>;
  void Submit(Start start);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_ASYNC_ENGINE_H_
