#ifndef LOSSD_CLIENT_TARGET_H_
#define LOSSD_CLIENT_TARGET_H_

#include "absl/strings/string_view.h"

namespace lossd {

// Whether what is sent to a gRPC target stays on this machine: a Unix socket, or loopback addresses
// and nothing else. Judged by the text, nothing is looked up; "localhost" counts (RFC 6761), and
// what is not understood does not.
bool IsLocalTarget(absl::string_view target);

}  // namespace lossd

#endif  // LOSSD_CLIENT_TARGET_H_
