#include "server/calls/call_regions.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

// Says of which tensor an error is.
template <class T>
absl::StatusOr<T> Named(std::string_view name, absl::StatusOr<T> found) {
  if (found.ok()) return found;
  return absl::Status(found.status().code(),
                      absl::StrCat(std::string(name), " ", found.status().message()));
}

}  // namespace

bool CallRegions::Use::IsSame(const Use& other) const {
  const SharedRegion::Facts& a = region->facts();
  const SharedRegion::Facts& b = other.region->facts();
  return a.device == b.device && a.inode == b.inode && offset == other.offset &&
         bytes == other.bytes;
}

bool CallRegions::Use::Overlaps(const Use& other) const {
  const SharedRegion::Facts& a = region->facts();
  const SharedRegion::Facts& b = other.region->facts();
  if (a.device != b.device || a.inode != b.inode) return false;
  return offset < other.offset + static_cast<uint64_t>(other.bytes) &&
         other.offset < offset + static_cast<uint64_t>(bytes);
}

absl::Status CallRegions::Find(const RegionTable& table, wire::DecodedRequest& request) {
  for (const TensorRow<wire::WireTensor>& row : kTensorRows<wire::WireTensor>) {
    wire::WireTensor* const tensor = TensorOf(request.tensors, row);
    if (tensor == nullptr || !tensor->region) continue;
    const int64_t bytes = *ByteCount(tensor->desc);  // the codec has looked at the product
    LOSSD_ASSIGN_OR_RETURN(std::shared_ptr<const SharedRegion> region,
                           table.Find(tensor->region->token));
    LOSSD_ASSIGN_OR_RETURN(const ByteSpan span,
                           Named(row.name, region->Read(tensor->region->offset, bytes)));
    tensor->data = ScatteredBytes(span);
    uses_.push_back({.region = std::move(region),
                     .offset = tensor->region->offset,
                     .bytes = bytes,
                     .name = row.name.data(),
                     .in_place = row.role == Role::kPredictions});
  }
  return absl::OkStatus();
}

absl::Status CallRegions::FindOutputs(const RegionTable& table, const LossPlan& plan,
                                      const wire::OutputRegions& outputs) {
  const LossPlan::BoxBytes sizes = plan.BytesOf(plan.whole());
  for (size_t i = 0; i < kOutputCount; ++i) {
    const auto& row = kOutputRows<std::optional<wire::Region>>[i];
    const std::optional<wire::Region>& place = outputs.*row.member;
    if (!place) continue;
    const int64_t bytes = sizes.*kOutputRows<int64_t>[i].member;
    LOSSD_ASSIGN_OR_RETURN(std::shared_ptr<const SharedRegion> region, table.Find(place->token));
    LOSSD_ASSIGN_OR_RETURN(outputs_.*kOutputRows<MutableByteSpan>[i].member,
                           Named(row.name, region->Write(place->offset, bytes)));
    Use use = {.region = std::move(region),
               .offset = place->offset,
               .bytes = bytes,
               .name = row.name.data()};
    for (const Use& other : uses_) {
      const bool in_place =
          other.in_place && row.dtype == OutputDType::kGradient && use.IsSame(other);
      if (in_place || !use.Overlaps(other)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(use.name, " overlaps ", other.name,
                       " in shared memory; only the gradient may be the very bytes of the "
                       "predictions"));
    }
    output_bytes_ += bytes;
    uses_.push_back(std::move(use));
  }
  return absl::OkStatus();
}

int64_t SaidRegionBytes(const wire::DecodedRequest& request) {
  int64_t bytes = 0;
  ForEachTensor(request.tensors, [&bytes](const TensorFacts&, const wire::WireTensor& tensor) {
    const int64_t room = std::numeric_limits<int64_t>::max() - bytes;
    if (tensor.region) bytes += std::min(room, ByteCount(tensor.desc).value_or(0));
  });
  return bytes;
}

}  // namespace lossd
