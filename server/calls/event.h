#ifndef LOSSD_SERVER_CALLS_EVENT_H_
#define LOSSD_SERVER_CALLS_EVENT_H_

#include <grpcpp/completion_queue.h>

#include <atomic>

namespace lossd {

// What a completion queue's tags point to. Whatever was written before Tag() is seen by Run(): gRPC
// orders that too, but a tool that does not look into gRPC could not tell.
class Event {
 public:
  // For gRPC, each time the event is to happen.
  void* Tag() {
    handed_over_.store(true, std::memory_order_release);
    return this;
  }

  // Runs the events of `queue` until it is shut down and empty. Several threads may do so at once.
  // Where memory runs out inside of gRPC or of an event, that event is lost, with what its call
  // holds, and the server goes on.
  static void DispatchAll(grpc::CompletionQueue& queue);

 protected:
  Event() = default;
  ~Event() = default;
  virtual void Run(bool ok) = 0;

 private:
  static void Dispatch(void* tag, bool ok) {
    auto* const event = static_cast<Event*>(tag);
    static_cast<void>(event->handed_over_.load(std::memory_order_acquire));
    event->Run(ok);
  }

  std::atomic<bool> handed_over_{false};
};

// Calls a member function of its owner, which may delete itself in it.
template <class Owner>
class MemberEvent final : public Event {
 public:
  using Method = void (Owner::*)(bool ok);

  MemberEvent(Owner* owner, Method method) : owner_(owner), method_(method) {}

 private:
  void Run(bool ok) override { (owner_->*method_)(ok); }

  Owner* owner_;
  Method method_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_EVENT_H_
