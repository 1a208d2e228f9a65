#ifndef LOSSD_TESTS_BITS_REQUESTS_H_
#define LOSSD_TESTS_BITS_REQUESTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "lossd/v1/loss.pb.h"

// The recorded set: requests of every loss, dtype, layout, option and output, unary and in blocks.
// They are made with generated code alone, so that nothing of the product decides what is asked.

namespace lossd::bits {

struct RecordedRequest {
  v1::ComputeRequest request;
  bool stream = false;
  std::vector<v1::Box> boxes;  // of the blocks, in the order in which they are sent
  bool boxes_in_header = false;
};

// Request `index` of LOSSD_TEST_SEED; the same on every machine.
RecordedRequest MakeRequest(int index);

// The messages of the call: one ComputeRequest, or the parts of a stream.
std::vector<std::string> MessagesOf(const RecordedRequest& recorded);

// Loss, dtype and shape, in a few words.
std::string Describe(const RecordedRequest& recorded);

}  // namespace lossd::bits

#endif  // LOSSD_TESTS_BITS_REQUESTS_H_
