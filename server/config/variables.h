#ifndef LOSSD_SERVER_CONFIG_VARIABLES_H_
#define LOSSD_SERVER_CONFIG_VARIABLES_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/flags/flag_list.h"

namespace lossd {

// The variable of a flag: "max-streams" -> "LOSSD_MAX_STREAMS".
std::string VariableOf(std::string_view flag);

// What the environment gives: `variables` are "NAME=VALUE". Many values are separated by commas; an
// empty one is not given. kInvalidArgument for a LOSSD_* that is no setting, nor used by lossctl or
// tests, nor made by Kubernetes.
absl::StatusOr<std::vector<Given>> ReadVariables(const std::vector<std::string>& variables,
                                                 const FlagList& flags);

// Whether Kubernetes makes that variable in every pod beside a Service whose name begins with
// "lossd": LOSSD_SERVICE_HOST, LOSSD_PORT=tcp://10.0.0.1:50151, LOSSD_PORT_50151_TCP_ADDR, ...
// LOSSD_PORT=50151 is not of its making.
bool IsServiceVariable(std::string_view name, std::string_view value);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_VARIABLES_H_
