#ifndef LOSSD_SERVER_CONTROL_HEALTH_METHODS_H_
#define LOSSD_SERVER_CONTROL_HEALTH_METHODS_H_

#include <functional>
#include <memory>

#include "server/control/control_method.h"
#include "server/control/health_state.h"

namespace lossd {

// grpc.health.v1.Health. Check answers NOT_FOUND for a service that this server does not have;
// Watch answers SERVICE_UNKNOWN for it, and RESOURCE_EXHAUSTED beyond
// HealthState::kMaxSubscriptions.
std::unique_ptr<ControlMethod> MakeHealthCheck(HealthState& health, std::function<void()> changed);
std::unique_ptr<ControlMethod> MakeHealthWatch(HealthState& health, std::function<void()> changed);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONTROL_HEALTH_METHODS_H_
