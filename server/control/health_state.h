#ifndef LOSSD_SERVER_CONTROL_HEALTH_STATE_H_
#define LOSSD_SERVER_CONTROL_HEALTH_STATE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>

namespace lossd {

// Whether the server serves, and a notice for each watcher when that changes. Thread-safe; outlives
// its subscriptions.
class HealthState {
 public:
  // Subscriptions at once. Calls for the health have more places than that, so that watchers cannot
  // keep a probe from being answered.
  static constexpr size_t kMaxSubscriptions = 3072;

  // While it exists, `changed` is called on whatever thread changes the state, with a lock of
  // HealthState held: it must neither subscribe nor end a subscription.
  class Subscription {
   public:
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

   private:
    friend class HealthState;
    Subscription(HealthState* state, std::function<void()> changed)
        : state_(state), changed_(std::move(changed)) {}

    HealthState* state_;
    std::function<void()> changed_;
  };

  void SetServing(bool serving);

  // Of the server as a whole ("") and of LossService; nullopt for any other service.
  std::optional<bool> IsServing(std::string_view service) const;

  // nullptr: there are kMaxSubscriptions already.
  std::unique_ptr<Subscription> Subscribe(std::function<void()> changed);

 private:
  std::atomic<bool> serving_{false};
  std::mutex mutex_;
  std::set<Subscription*> subscriptions_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CONTROL_HEALTH_STATE_H_
