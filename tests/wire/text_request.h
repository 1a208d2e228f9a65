#ifndef LOSSD_TESTS_WIRE_TEXT_REQUEST_H_
#define LOSSD_TESTS_WIRE_TEXT_REQUEST_H_

#include <string>

#include "absl/status/status.h"
#include "lossd/v1/loss.pb.h"

namespace lossd::wire_test {

// A ComputeRequest in text format, in which $T(...) stands for a string that holds these elements:
//   data: $f32(1 2.5 -inf nan)
// T is f32, f64, i8 .. u64, or zeros, which takes a number of bytes. f16 and bf16 are written as
// the u16 of their bits. A text that is not one fails the test.
v1::ComputeRequest ParseRequest(const std::string& text);

// A small request that is right,
//   spec { softmax {} }
//   class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(2 0) }
//   predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 2 3 0.5 -1 0) }
// but for the fields of `text`, each of which takes the place of the field of this name, or of the
// other member of its oneof, whole.
v1::ComputeRequest RequestWith(const std::string& text);

// What a request meets: serialized, decoded, planned, prepared, computed. OK where there is an
// answer.
absl::Status Answer(const v1::ComputeRequest& request);

// As far as the plan, as a request and as a stream's header with the data left out. OK where the
// fault, if any, is in the data.
absl::Status PlanOf(const v1::ComputeRequest& request);
absl::Status PlanOfHeader(v1::ComputeRequest request);

}  // namespace lossd::wire_test

#endif  // LOSSD_TESTS_WIRE_TEXT_REQUEST_H_
