#include "server/control/health_state.h"

#include <utility>

namespace lossd {
namespace {

constexpr std::string_view kLossService = "lossd.v1.LossService";

}  // namespace

HealthState::Subscription::~Subscription() {
  const std::lock_guard lock(state_->mutex_);
  state_->subscriptions_.erase(this);
}

void HealthState::SetServing(bool serving) {
  const std::lock_guard lock(mutex_);
  serving_ = serving;
  for (const Subscription* const subscription : subscriptions_) subscription->changed_();
}

std::optional<bool> HealthState::IsServing(std::string_view service) const {
  if (!service.empty() && service != kLossService) return std::nullopt;
  return serving_;
}

std::unique_ptr<HealthState::Subscription> HealthState::Subscribe(std::function<void()> changed) {
  std::unique_ptr<Subscription> subscription(new Subscription(this, std::move(changed)));
  {
    const std::lock_guard lock(mutex_);
    if (subscriptions_.size() < kMaxSubscriptions) {
      subscriptions_.insert(subscription.get());
      return subscription;
    }
  }
  return nullptr;
}

}  // namespace lossd
