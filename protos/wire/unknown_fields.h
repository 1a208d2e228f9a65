#ifndef LOSSD_WIRE_UNKNOWN_FIELDS_H_
#define LOSSD_WIRE_UNKNOWN_FIELDS_H_

#include <google/protobuf/message.h>

#include "absl/status/status.h"

namespace lossd::wire {

// kUnimplemented "lossd.v1.LossSpec has the field 99, which this server does not know" for a
// message that has a field this server does not know, or a known one of another wire type, which
// protobuf takes for unknown. Looks at `message` alone, not at the messages inside.
absl::Status CheckKnown(const google::protobuf::Message& message);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_UNKNOWN_FIELDS_H_
