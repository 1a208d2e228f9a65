#ifndef LOSSD_SERVER_CALLS_METHODS_H_
#define LOSSD_SERVER_CALLS_METHODS_H_

#include "server/calls/unary_call.h"

namespace lossd {

// The unary methods of LossService.
extern const UnaryMethod kUnaryCompute;
extern const UnaryMethod kUnaryServerInfo;

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_METHODS_H_
