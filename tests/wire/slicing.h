#ifndef LOSSD_TESTS_WIRE_SLICING_H_
#define LOSSD_TESTS_WIRE_SLICING_H_

#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <string>
#include <vector>

#include "protos/wire/message.h"
#include "tests/support/random.h"

namespace lossd::wire_test {

// A slice with memory of its own: gRPC joins slices that are small enough to need none, and a
// sanitizer sees reads past the end of this one.
inline grpc::Slice OwnSlice(const std::string& bytes) {
  auto* owned = new std::vector<char>(bytes.begin(), bytes.end());
  return grpc::Slice(
      owned->data(), owned->size(),
      [](void* memory) { delete static_cast<std::vector<char>*>(memory); }, owned);
}

// The bytes in slices of at most `max_slice`, empty ones among them.
inline grpc::ByteBuffer Sliced(const std::string& bytes, int64_t max_slice,
                               oracle::Random& random) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = std::min<size_t>(random.Below(max_slice) + 1, bytes.size() - at);
    slices.push_back(OwnSlice(bytes.substr(at, size)));
    if (random.OneIn(8)) slices.push_back(OwnSlice(""));
    at += size;
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

inline grpc::ByteBuffer InOneSlice(const std::string& bytes) {
  const grpc::Slice slice = OwnSlice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

// In one slice, in slices of one byte, or in random ones.
inline wire::Message RandomlySliced(const std::string& bytes, oracle::Random& random) {
  const auto whole = std::max<int64_t>(1, static_cast<int64_t>(bytes.size()));
  switch (random.Below(3)) {
    case 0:
      return wire::Message(InOneSlice(bytes));
    case 1:
      return wire::Message(Sliced(bytes, 1, random));
    default:
      return wire::Message(Sliced(bytes, 1 + random.Below(whole), random));
  }
}

inline std::string Joined(const ScatteredBytes& bytes) {
  std::string joined(bytes.size(), '\0');
  bytes.CopyTo(0, bytes.size(), reinterpret_cast<std::byte*>(joined.data()));
  return joined;
}

inline std::string Joined(const grpc::ByteBuffer& buffer) {
  return Joined(wire::Message(buffer).bytes());
}

}  // namespace lossd::wire_test

#endif  // LOSSD_TESTS_WIRE_SLICING_H_
