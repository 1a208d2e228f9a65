#include "server/calls/request_id.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <iterator>
#include <random>

#include "absl/strings/str_cat.h"
#include "protos/wire/metadata.h"

namespace lossd {
namespace {

// A walk over all 64-bit numbers in steps of an odd one, from somewhere: no number comes twice, and
// two servers rarely meet. The mixing (of splitmix64) makes neighbours look unlike.
uint64_t NextNumber() {
  static std::atomic<uint64_t> place{(uint64_t{std::random_device{}()} << 32) |
                                     std::random_device{}()};
  uint64_t number = place.fetch_add(0x9e3779b97f4a7c15, std::memory_order_relaxed);
  number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9;
  number = (number ^ (number >> 27)) * 0x94d049bb133111eb;
  return number ^ (number >> 31);
}

bool IsUsable(grpc::string_ref id) {
  return !id.empty() && id.size() <= kMaxRequestIdBytes &&
         std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

std::string RequestIdOf(const grpc::ServerContext& context) {
  const auto [begin, end] = context.client_metadata().equal_range(wire::kRequestIdKey);
  if (begin != end && std::next(begin) == end && IsUsable(begin->second)) {
    return std::string(begin->second.data(), begin->second.size());
  }
  return absl::StrCat(absl::Hex(NextNumber(), absl::kZeroPad16));
}

}  // namespace lossd
