#include "tests/server/raw_http2.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace lossd::testing {
namespace {

constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr uint8_t kData = 0;
constexpr uint8_t kHeaders = 1;
constexpr uint8_t kSettings = 4;
constexpr uint8_t kEndStream = 1;
constexpr uint8_t kEndHeaders = 4;
constexpr size_t kFrameHeader = 9;

std::string Frame(uint8_t type, uint8_t flags, uint8_t stream, const std::string& payload) {
  const auto size = static_cast<uint32_t>(payload.size());
  const uint8_t header[kFrameHeader] = {static_cast<uint8_t>(size >> 16),
                                        static_cast<uint8_t>(size >> 8),
                                        static_cast<uint8_t>(size),
                                        type,
                                        flags,
                                        0,
                                        0,
                                        0,
                                        stream};
  return std::string(reinterpret_cast<const char*>(header), kFrameHeader) + payload;
}

// HPACK: a literal field that is not indexed, without Huffman codes.
std::string Literal(const std::string& name, const std::string& value) {
  std::string field(1, '\0');
  for (const std::string& text : {name, value}) {
    EXPECT_LT(text.size(), 127);
    field += static_cast<char>(text.size());
    field += text;
  }
  return field;
}

bool EndsStream(const std::string& answer) {
  size_t at = 0;
  while (at + kFrameHeader <= answer.size()) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(answer[at + i]); };
    if (byte(8) == 1 && byte(3) <= kHeaders && (byte(4) & kEndStream) != 0) return true;
    at += kFrameHeader + (byte(0) << 16) + (byte(1) << 8) + byte(2);
  }
  return false;
}

}  // namespace

std::string RawHttp2Call(const std::string& address, const std::string& path, const Headers& more) {
  const size_t colon = address.rfind(':');
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  EXPECT_EQ(inet_pton(AF_INET, address.substr(0, colon).c_str(), &where.sin_addr), 1);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
  Headers headers = {{":method", "POST"}, {":scheme", "http"},
                     {":path", path},     {":authority", "localhost"},
                     {"te", "trailers"},  {"content-type", "application/grpc"}};
  headers.insert(headers.end(), more.begin(), more.end());
  std::string block;
  for (const auto& [name, value] : headers) block += Literal(name, value);
  const std::string request = kPreface + Frame(kSettings, 0, 0, "") +
                              Frame(kHeaders, kEndHeaders, 1, block) +
                              Frame(kData, kEndStream, 1, std::string(5, '\0'));
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  while (!EndsStream(answer)) {
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) break;
    answer.append(buffer, got);
  }
  close(fd);
  return answer;
}

}  // namespace lossd::testing
