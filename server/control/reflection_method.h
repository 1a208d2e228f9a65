#ifndef LOSSD_SERVER_CONTROL_REFLECTION_METHOD_H_
#define LOSSD_SERVER_CONTROL_REFLECTION_METHOD_H_

#include <functional>
#include <memory>

#include "server/control/control_method.h"

namespace lossd {

// ServerReflection of grpc.reflection.v1 and v1alpha, whose messages are the same on the wire. It
// describes the files of the services below and what they import, and nothing else that is linked
// into the program. What it does not have is an error_response with NOT_FOUND.
std::unique_ptr<ControlMethod> MakeReflection(HealthState& health, std::function<void()> changed);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONTROL_REFLECTION_METHOD_H_
