#include "protos/wire/message.h"

#include <utility>
#include <vector>

namespace lossd::wire {
namespace {

// gRPC delivers about this much at a time, or more.
constexpr size_t kUsualSliceBytes = 8192;

// A slice and its entries in our lists cost some 100 bytes.
constexpr size_t kManySlices = 1024;
constexpr size_t kCrumbBytes = 512;

bool IsCrumbs(size_t slices, size_t bytes) {
  return slices > kManySlices && bytes / slices < kCrumbBytes;
}

}  // namespace

Message::Message(const grpc::ByteBuffer& buffer) {
  if (grpc::Slice only; buffer.Length() <= kUsualSliceBytes && buffer.TrySingleSlice(&only).ok()) {
    const auto slice = std::make_shared<grpc::Slice>(std::move(only));
    bytes_.Append(ByteSpan(reinterpret_cast<const std::byte*>(slice->begin()), slice->size()));
    storage_ = slice;
    return;
  }
  const auto slices = std::make_shared<std::vector<grpc::Slice>>();
  // Measured: 64 MiB in 8 KiB slices take 0.2 ms instead of 0.6 ms.
  slices->reserve(buffer.Length() / kUsualSliceBytes + 1);
  if (!buffer.Valid() || !buffer.Dump(slices.get()).ok()) return;
  if (IsCrumbs(slices->size(), buffer.Length())) {
    grpc::Slice whole;
    if (!buffer.DumpToSingleSlice(&whole).ok()) return;
    *slices = {std::move(whole)};
  }
  // Only now: small slices hold their bytes within themselves and move when the vector grows.
  for (const grpc::Slice& slice : *slices) {
    bytes_.Append(ByteSpan(reinterpret_cast<const std::byte*>(slice.begin()), slice.size()));
  }
  storage_ = slices;
}

}  // namespace lossd::wire
