#include "client/testing/local_transport.h"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>

namespace lossd {
namespace {

using Task = std::function<void()>;

class LocalQueue : public EventQueue {
 public:
  explicit LocalQueue(LocalTransport& transport) : transport_(transport) {}

  void Post(Task task) { ready_.push_back(std::move(task)); }

  using TimerId = std::pair<absl::Time, int64_t>;
  TimerId PostAt(absl::Time time, Task task) {
    const TimerId id(time, next_timer_++);
    timers_.emplace(id, std::move(task));
    return id;
  }
  void Forget(const TimerId& id) { timers_.erase(id); }

  bool RunOne(absl::Time until) override {
    if (!ready_.empty()) {
      const Task task = std::move(ready_.front());
      ready_.pop_front();
      task();
      return true;
    }
    if (!timers_.empty() && timers_.begin()->first.first <= until) {
      const auto due = timers_.extract(timers_.begin());
      transport_.AdvanceTo(due.key().first);
      due.mapped()();
      return true;
    }
    std::unique_lock lock(mutex_);
    if (until == absl::InfiniteFuture()) {
      wakened_.wait(lock, [this] { return wake_; });
    } else if (!wake_) {
      transport_.AdvanceTo(until);
    }
    wake_ = false;
    return false;
  }

  void Wake() override {
    const std::lock_guard lock(mutex_);
    wake_ = true;
    wakened_.notify_one();
  }

 private:
  LocalTransport& transport_;
  std::deque<Task> ready_;
  std::map<TimerId, Task> timers_;
  int64_t next_timer_ = 0;
  std::mutex mutex_;
  std::condition_variable wakened_;
  bool wake_ = false;
};

// One stream, kept alive by the tasks that refer to it; those that come after the end do nothing.
class StreamState : public StreamReply, public std::enable_shared_from_this<StreamState> {
 public:
  StreamState(LocalQueue& queue, std::unique_ptr<StreamPeer> peer, StreamEvents* events)
      : queue_(queue), peer_(std::move(peer)), events_(events) {}

  void EndAt(absl::Time deadline) {
    deadline_ = queue_.PostAt(deadline, [self = shared_from_this()] {
      self->End(absl::DeadlineExceededError("Deadline Exceeded"));
    });
  }

  void Write(const wire::Message& message, bool last) {
    if (ended_) return;
    peer_->OnMessage(message, last, *this);
    Post([](StreamEvents& events) { events.OnWritten(); });
  }

  void Send(wire::Message message) override {
    if (ended_) return;
    Post([message = std::move(message)](StreamEvents& events) { events.OnMessage(message); });
  }

  void End(absl::Status status) override {
    if (std::exchange(ended_, true)) return;
    queue_.Forget(deadline_);
    queue_.Post([self = shared_from_this(), status = std::move(status)] {
      self->over_ = true;
      self->events_->OnDone(status);
    });
  }

 private:
  void Post(std::function<void(StreamEvents&)> task) {
    queue_.Post([self = shared_from_this(), task = std::move(task)] {
      if (!self->over_) task(*self->events_);
    });
  }

  LocalQueue& queue_;
  const std::unique_ptr<StreamPeer> peer_;
  StreamEvents* const events_;
  LocalQueue::TimerId deadline_;
  bool ended_ = false;  // by the service, a cancel or the deadline
  bool over_ = false;   // and the client has been told
};

class LocalStream : public TransportStream {
 public:
  explicit LocalStream(std::shared_ptr<StreamState> state) : state_(std::move(state)) {}
  void Write(const grpc::ByteBuffer& message, bool last) override {
    state_->Write(wire::Message(message), last);
  }
  void Cancel() override { state_->End(absl::CancelledError("CANCELLED")); }

 private:
  const std::shared_ptr<StreamState> state_;
};

}  // namespace

std::unique_ptr<EventQueue> LocalTransport::NewQueue() {
  return std::make_unique<LocalQueue>(*this);
}

absl::Time LocalTransport::Now() const {
  const std::lock_guard lock(mutex_);
  return now_;
}

void LocalTransport::AdvanceTo(absl::Time time) {
  const std::lock_guard lock(mutex_);
  now_ = std::max(now_, time);
}

void LocalTransport::Unary(EventQueue& queue, const CallSetup& call,
                           const grpc::ByteBuffer& request,
                           std::function<void(absl::StatusOr<wire::Message>)> done) {
  absl::StatusOr<wire::Message> answer = service_->Unary(call.method, wire::Message(request));
  if (Now() > call.deadline) answer = absl::DeadlineExceededError("Deadline Exceeded");
  static_cast<LocalQueue&>(queue).Post(
      [answer = std::move(answer), done = std::move(done)] { done(answer); });
}

std::unique_ptr<TransportStream> LocalTransport::Stream(EventQueue& queue, const CallSetup& call,
                                                        StreamEvents* events) {
  const auto state = std::make_shared<StreamState>(static_cast<LocalQueue&>(queue),
                                                   service_->Stream(call.method), events);
  state->EndAt(call.deadline);
  return std::make_unique<LocalStream>(state);
}

}  // namespace lossd
