#include "server/listen/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace lossd {
namespace {

using Result = absl::StatusOr<std::optional<ProxyHeader>>;

constexpr std::string_view kText = "PROXY ";
constexpr std::string_view kEnd = "\r\n";
constexpr size_t kMostTextBytes = 107;
constexpr std::string_view kBinary = std::string_view("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr size_t kBinaryFixed = 16;

absl::Status Bad(const char* what) {
  return absl::InvalidArgumentError(absl::StrFormat("PROXY header: %s", what));
}

// Whether one is the beginning of the other.
bool Agree(std::string_view one, std::string_view other) {
  const size_t size = std::min(one.size(), other.size());
  return one.substr(0, size) == other.substr(0, size);
}

std::optional<sockaddr_storage> AddressOf(int family, const std::string& host,
                                          absl::string_view port) {
  uint32_t number = 0;
  if (!absl::SimpleAtoi(port, &number) || number > UINT16_MAX) return std::nullopt;
  sockaddr_storage address{};
  address.ss_family = static_cast<sa_family_t>(family);
  auto& v4 = reinterpret_cast<sockaddr_in&>(address);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
  void* const to = family == AF_INET ? static_cast<void*>(&v4.sin_addr) : &v6.sin6_addr;
  if (inet_pton(family, host.c_str(), to) != 1) return std::nullopt;
  (family == AF_INET ? v4.sin_port : v6.sin6_port) = htons(static_cast<uint16_t>(number));
  return address;
}

// "PROXY TCP4 SOURCE DESTINATION PORT PORT\r\n"
Result ReadText(std::string_view bytes) {
  const std::string_view most = bytes.substr(0, kMostTextBytes);
  const size_t end = most.find(kEnd);
  if (end == std::string_view::npos) {
    if (bytes.size() >= kMostTextBytes) return Bad("the line has no end");
    return std::nullopt;
  }
  ProxyHeader header = {.size = end + kEnd.size()};
  const std::vector<std::string> words = absl::StrSplit(absl::string_view(bytes.data(), end), ' ');
  if (words[1] == "UNKNOWN") return header;
  const int family = words[1] == "TCP4" ? AF_INET : words[1] == "TCP6" ? AF_INET6 : AF_UNSPEC;
  if (family == AF_UNSPEC || words.size() != 6) {
    return Bad("wanted TCP4 or TCP6, two addresses and two ports, or UNKNOWN");
  }
  header.source = AddressOf(family, words[2], words[4]);
  if (!header.source || !AddressOf(family, words[3], words[5])) {
    return Bad("the addresses are none");
  }
  return header;
}

Result ReadBinary(std::string_view bytes) {
  if (bytes.size() < kBinaryFixed) return std::nullopt;
  const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t command = at(12);
  const uint8_t family = at(13);
  const size_t length = size_t{at(14)} << 8 | at(15);
  ProxyHeader header = {.size = kBinaryFixed + length};
  if (command != 0x20 && command != 0x21) return Bad("wanted version 2, LOCAL or PROXY");
  if (header.size > kMostProxyHeaderBytes) return Bad("it is too long");
  if (bytes.size() < header.size) return std::nullopt;
  if (command == 0x20) return header;  // LOCAL: the proxy asks for itself
  sockaddr_storage source{};
  const char* const from = bytes.data() + kBinaryFixed;
  if (family == 0x11) {  // TCP over IPv4: source, destination, ports
    if (length < 12) return Bad("the addresses are cut off");
    auto& v4 = reinterpret_cast<sockaddr_in&>(source);
    v4.sin_family = AF_INET;
    std::memcpy(&v4.sin_addr, from, 4);
    std::memcpy(&v4.sin_port, from + 8, 2);
    header.source = source;
  } else if (family == 0x21) {  // TCP over IPv6
    if (length < 36) return Bad("the addresses are cut off");
    auto& v6 = reinterpret_cast<sockaddr_in6&>(source);
    v6.sin6_family = AF_INET6;
    std::memcpy(&v6.sin6_addr, from, 16);
    std::memcpy(&v6.sin6_port, from + 32, 2);
    header.source = source;
  } else if (family != 0x00 && family != 0x31) {  // neither unknown nor a Unix socket
    return Bad("wanted TCP or a Unix socket");
  }
  return header;
}

}  // namespace

Result ReadProxyHeader(std::string_view bytes) {
  if (bytes.empty()) return std::nullopt;
  for (const auto& [start, read] : {std::pair(kText, &ReadText), {kBinary, &ReadBinary}}) {
    if (!Agree(bytes, start)) continue;
    if (bytes.size() < start.size()) return std::nullopt;
    return read(bytes);
  }
  return ProxyHeader{};
}

}  // namespace lossd
