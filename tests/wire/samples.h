#ifndef LOSSD_TESTS_WIRE_SAMPLES_H_
#define LOSSD_TESTS_WIRE_SAMPLES_H_

#include <cstdint>
#include <string>

#include "lossd/v1/loss.pb.h"
#include "tests/support/random.h"

// Random messages that the codec accepts, made with generated code alone. Optional fields are
// absent about half the time, doubles are random bits, tensors hold up to a few KiB.

namespace lossd::wire_test {

using oracle::Random;

v1::ComputeRequest SampleRequest(Random& random);
v1::ComputeStreamRequest SampleHeader(Random& random);
v1::ComputeStreamRequest SampleSideData(Random& random);
v1::ComputeStreamRequest SampleBlock(Random& random);
v1::ComputeResponse SampleResponse(Random& random);
v1::ComputeStreamResponse SampleBlockResult(Random& random);
v1::ComputeStreamResponse SampleSummary(Random& random);

std::string SampleBytes(Random& random, int64_t size);

// The same message with every default stated in loss.proto filled in.
void FillDefaults(v1::ComputeRequest& request);
void FillDefaults(v1::ComputeStreamRequest& part);
void FillDefaults(v1::ComputeResponse& response);
void FillDefaults(v1::ComputeStreamResponse& answer);

}  // namespace lossd::wire_test

#endif  // LOSSD_TESTS_WIRE_SAMPLES_H_
