#include "protos/wire/region_codec.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"
#include "protos/wire/unknown_fields.h"

namespace lossd::wire {
namespace {

constexpr uint8_t kTokenTag = v1::Region::kTokenFieldNumber << 3 | 2;
constexpr uint8_t kOffsetTag = v1::Region::kOffsetFieldNumber << 3 | 0;
constexpr size_t kTokenBytes = std::tuple_size_v<Region::Token>;
constexpr size_t kHeadBytes = 2;  // of a field: its tag, and a length below 128
constexpr size_t kMaxOffsetBytes = 9;

// A varint of at most 63 bits, no longer than it has to be, which is all there is.
bool ReadOffset(absl::Span<const uint8_t> bytes, uint64_t* offset) {
  if (bytes.empty() || bytes.size() > kMaxOffsetBytes) return false;
  *offset = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const bool last = i + 1 == bytes.size();
    if ((bytes[i] >= 0x80) == last) return false;
    *offset |= uint64_t{bytes[i] & 0x7fu} << (7 * i);
  }
  return bytes.size() == 1 || bytes.back() != 0;
}

std::string Name(std::string_view name) { return std::string(name); }

}  // namespace

bool TakeRegion(absl::Span<const uint8_t>& bytes, std::optional<Region>& into) {
  if (bytes.empty() || bytes[0] >= 0x80 || bytes[0] >= bytes.size()) return false;
  absl::Span<const uint8_t> inside = bytes.subspan(1, bytes[0]);
  bytes.remove_prefix(1 + inside.size());
  if (inside.size() < kHeadBytes + kTokenBytes || inside[0] != kTokenTag ||
      inside[1] != kTokenBytes) {
    return false;
  }
  Region& region = into.emplace();
  std::copy_n(inside.data() + kHeadBytes, kTokenBytes, region.token.begin());
  inside.remove_prefix(kHeadBytes + kTokenBytes);
  if (inside.empty()) return true;
  return inside[0] == kOffsetTag && ReadOffset(inside.subspan(1), &region.offset);
}

absl::StatusOr<Region> FromProto(std::string_view name, const v1::Region& region) {
  LOSSD_RETURN_IF_ERROR(CheckKnown(region));
  if (region.token().size() != kTokenBytes) {
    return absl::InvalidArgumentError(absl::StrCat(Name(name), ".token has ", region.token().size(),
                                                   " bytes; wanted ", kTokenBytes));
  }
  Region read;
  std::copy_n(region.token().data(), kTokenBytes, read.token.begin());
  read.offset = region.offset();
  return read;
}

absl::Status CheckOffset(std::string_view name, const Region& region) {
  if (region.offset % Region::kAlignment == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(Name(name), ".offset is ", region.offset,
                                                 "; wanted a multiple of ", Region::kAlignment));
}

Writer ToProto(const Region& region) {
  Writer written;
  const ByteSpan token(reinterpret_cast<const std::byte*>(region.token.data()), kTokenBytes);
  written.Bytes(v1::Region::kTokenFieldNumber, Payload{token, nullptr});
  written.Number(v1::Region::kOffsetFieldNumber, static_cast<int64_t>(region.offset));
  return written;
}

}  // namespace lossd::wire
