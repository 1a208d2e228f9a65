#ifndef LOSSD_CLIENT_CALL_REGION_CALL_H_
#define LOSSD_CLIENT_CALL_REGION_CALL_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/call/compute_job.h"
#include "client/shared_memory/shared_regions.h"
#include "protos/wire/request_codec.h"
#include "protos/wire/response_codec.h"

namespace lossd {

// One attempt at a computation whose large tensors lie in memory that is shared with the server.
class RegionCall {
 public:
  // nullopt where the predictions, or too much beside them, do not lie in such memory: the call
  // goes the usual way. `job` and `regions` outlive the attempt.
  static std::optional<RegionCall> Find(const ComputeJob& job, SharedRegions& regions);

  absl::StatusOr<grpc::ByteBuffer> Request() const;

  // Puts the outputs that came with the answer into their buffers.
  absl::Status Place(const wire::DecodedResponse& response) const;

  // The server did not know a token: the memory will be shared anew.
  void Forget() const;

  // The attempt failed with `status`. Waits until the server does not write to the memory any more.
  // The status that is to be reported: where predictions may have been overwritten by a gradient,
  // one that forbids another attempt.
  absl::Status AfterFailure(absl::Status status) const;

 private:
  RegionCall(const ComputeJob& job, SharedRegions& regions) : job_(&job), regions_(&regions) {}
  std::optional<wire::Region> Use(ByteSpan bytes);
  void FindInputs();
  void FindOutputs();

  const ComputeJob* job_;
  SharedRegions* regions_;
  LossTensors<std::optional<wire::Region>> inputs_;
  wire::OutputRegions outputs_;
  std::vector<wire::Region::Token> tokens_;  // in use
  int64_t beside_bytes_ = 0;                 // that travel in messages
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_REGION_CALL_H_
