#ifndef LOSSD_TESTS_FAULTS_HTTP2_H_
#define LOSSD_TESTS_FAULTS_HTTP2_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

// HTTP/2 by hand, so that it can be done wrong. Numbers are those of RFC 9113 and RFC 7541.
namespace lossd::http2 {

inline constexpr absl::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum Type : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
enum Flags : uint8_t { kNone = 0, kEndStream = 1, kAck = 1, kEndHeaders = 4 };

struct Frame {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
};

std::string Bytes(uint8_t type, uint8_t flags, uint32_t stream, absl::string_view payload);

// A 32-bit number as frames hold it.
std::string Number(uint32_t value);
uint32_t NumberAt(absl::string_view bytes, size_t at);

// {identifier, value} pairs.
std::string Settings(const std::vector<std::pair<uint16_t, uint32_t>>& values);
inline constexpr uint16_t kHeaderTableSize = 1;
inline constexpr uint16_t kInitialWindowSize = 4;

// Header fields as HPACK literals that are never indexed nor compressed.
using Fields = std::vector<std::pair<std::string, std::string>>;
std::string Literals(const Fields& fields);

// Reads a block of a peer that was told to keep no table. Names that come as a static index, and
// text in Huffman's code, are left out: gRPC uses neither for what a test asks about.
Fields ReadLiterals(absl::string_view block);

// What gRPC's calls begin with, and how gRPC frames a message.
Fields CallFields(const std::string& path);
std::string Message(absl::string_view bytes, uint8_t compressed = 0);
std::string MessagePrefix(uint32_t length, uint8_t compressed = 0);

}  // namespace lossd::http2

#endif  // LOSSD_TESTS_FAULTS_HTTP2_H_
