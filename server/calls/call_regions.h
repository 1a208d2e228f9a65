#ifndef LOSSD_SERVER_CALLS_CALL_REGIONS_H_
#define LOSSD_SERVER_CALLS_CALL_REGIONS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "core/plan/loss_plan.h"
#include "lossd/outputs.h"
#include "protos/wire/request_codec.h"
#include "server/shared_memory/region_table.h"

namespace lossd {

// The shared memory of one call, which stays mapped as long as this lives. What lies there may
// change at any time.
class CallRegions {
 public:
  // Gives the tensors of `request` that name a region their bytes. kInvalidArgument for bytes
  // outside of it, Refusal::kUnknownRegion for an unknown token.
  absl::Status Find(const RegionTable& table, wire::DecodedRequest& request);

  // Finds where the outputs go. kInvalidArgument also where two of them overlap, or one overlaps a
  // tensor; the gradient may be the very bytes of the predictions. After Find.
  absl::Status FindOutputs(const RegionTable& table, const LossPlan& plan,
                           const wire::OutputRegions& outputs);

  // Empty: the output travels in the answer.
  const LossOutputs& outputs() const { return outputs_; }
  int64_t output_bytes() const { return output_bytes_; }

 private:
  // Bytes in use.
  struct Use {
    std::shared_ptr<const SharedRegion> region;
    uint64_t offset = 0;
    int64_t bytes = 0;
    const char* name = "";
    bool in_place = false;  // the gradient may be there

    bool Overlaps(const Use& other) const;
    bool IsSame(const Use& other) const;
  };

  std::vector<Use> uses_;
  LossOutputs outputs_;
  int64_t output_bytes_ = 0;
};

// How many bytes of its tensors a request has in regions, by what it says.
int64_t SaidRegionBytes(const wire::DecodedRequest& request);

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_CALL_REGIONS_H_
