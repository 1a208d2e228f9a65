#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/admission/trusted_proxies.h"
#include "server/listen/peer_name.h"
#include "server/listen/proxy_header.h"
#include "tests/server/harness.h"
#include "tests/server/raw_socket.h"

// What proxies say about the addresses of their clients, and who is believed.
namespace lossd::testing {
namespace {

using ::testing::HasSubstr;

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string Binary(int command, int family, const std::string& rest) {
  std::string header = kSignature;
  header += static_cast<char>(command);
  header += static_cast<char>(family);
  header += static_cast<char>(rest.size() >> 8);
  header += static_cast<char>(rest.size() & 0xff);
  return header + rest;
}

// 1.2.3.4:80 to 5.6.7.8:443.
const std::string kV4("\1\2\3\4\5\6\7\10\0\120\1\273", 12);
// [2001:db8::1]:80 to [::]:443.
const std::string kV6(
    "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\120\1\273",
    36);

std::string SourceOf(const ProxyHeader& header) {
  return header.source ? PeerName::Of(*header.source).text : "none";
}

// ------------------------------------------------------------------------------- PROXY headers

TEST(ProxyHeader, SaysForWhomAProxyConnects) {
  const struct {
    const char* name;
    std::string bytes;
    const char* source;
  } rows[] = {
      {"v2, IPv4", Binary(0x21, 0x11, kV4), "ipv4:1.2.3.4:80"},
      {"v2, IPv6", Binary(0x21, 0x21, kV6), "ipv6:%5B2001:db8::1%5D:80"},
      {"v2, with extensions", Binary(0x21, 0x11, kV4 + std::string("\3\0\4abcd", 7)),
       "ipv4:1.2.3.4:80"},
      {"v2, the proxy itself", Binary(0x20, 0x00, ""), "none"},
      {"v2, the proxy itself, and an address", Binary(0x20, 0x11, kV4), "none"},
      {"v2, unknown", Binary(0x21, 0x00, ""), "none"},
      {"v2, a Unix socket", Binary(0x21, 0x31, std::string(216, 'x')), "none"},
      {"v1, IPv4", "PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n", "ipv4:1.2.3.4:80"},
      {"v1, IPv6", "PROXY TCP6 2001:db8::1 :: 80 443\r\n", "ipv6:%5B2001:db8::1%5D:80"},
      {"v1, unknown", "PROXY UNKNOWN\r\n", "none"},
      {"v1, unknown, and words", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "none"},
  };
  for (const auto& row : rows) {
    for (size_t size = 1; size < row.bytes.size(); ++size) {  // it comes byte by byte
      const auto part = ReadProxyHeader(std::string_view(row.bytes).substr(0, size));
      ASSERT_TRUE(part.ok()) << row.name << size << part.status();
      EXPECT_FALSE(part->has_value()) << row.name << size;
    }
    for (const std::string& behind : {std::string(), std::string("PRI * HTTP/2.0\r\n")}) {
      const auto header = ReadProxyHeader(row.bytes + behind);
      ASSERT_TRUE(header.ok() && header->has_value()) << row.name << header.status();
      EXPECT_EQ((*header)->size, row.bytes.size()) << row.name;
      EXPECT_EQ(SourceOf(**header), row.source) << row.name;
    }
  }
}

TEST(ProxyHeader, ThatCannotBeUnderstoodIsRefused) {
  const std::string rows[] = {
      Binary(0x11, 0x11, kV4),                           // version 1 in binary
      Binary(0x22, 0x11, kV4),                           // neither LOCAL nor PROXY
      Binary(0x21, 0x12, kV4),                           // UDP
      Binary(0x21, 0x11, kV4.substr(1)),                 // too short
      Binary(0x21, 0x21, kV6.substr(1)),                 // likewise
      Binary(0x21, 0x11, kV4 + std::string(60'000, 0)),  // too long
      "PROXY \r\n",
      "PROXY TCP4\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 80\r\n",
      "PROXY TCP4 1.2.3 5.6.7.8 80 443\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 80 443 5\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 70000 443\r\n",
      "PROXY TCP4 1.2.3.4 5.6.7.8 -1 443\r\n",
      "PROXY TCP4 2001:db8::1 5.6.7.8 80 443\r\n",
      "PROXY TCP5 1.2.3.4 5.6.7.8 80 443\r\n",
      "PROXY " + std::string(200, 'x'),
  };
  for (const std::string& row : rows) {
    const auto header = ReadProxyHeader(row);
    EXPECT_EQ(header.status().code(), absl::StatusCode::kInvalidArgument) << row.substr(0, 60);
  }
}

TEST(ProxyHeader, IsNotEveryBeginning) {
  for (const std::string& other : {std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                                   std::string("\x16\3\1\2\0"), std::string("GET / HTTP/1.1\r\n"),
                                   std::string("\r\n\r\n\r\n\r\n\r\n\r\n\r\n"), std::string("x")}) {
    const auto header = ReadProxyHeader(other);
    ASSERT_TRUE(header.ok() && header->has_value()) << other;
    EXPECT_EQ((*header)->size, 0u);
    EXPECT_EQ(SourceOf(**header), "none");
  }
}

// ---------------------------------------------------------------------------------------- trust

TrustedProxies Proxies(const char* text) {
  const auto proxies = TrustedProxies::Parse(text);
  EXPECT_TRUE(proxies.ok()) << proxies.status();
  return *proxies;
}

TEST(TrustedProxies, AreThoseOfTheList) {
  const TrustedProxies proxies = Proxies("10.0.0.0/8, 192.168.1.77 ,2001:db8:8000::/33");
  const struct {
    const char* name;
    bool trusted;
  } rows[] = {
      {"ipv4:10.255.1.2:1", true},
      {"ipv4:11.0.0.1:1", false},
      {"ipv4:192.168.1.77:5", true},
      {"ipv4:192.168.1.78:5", false},
      {"ipv6:%5B2001:db8:8000::1%5D:1", true},
      {"ipv6:%5B2001:db8:7fff::1%5D:1", false},
      {"unix:0:1", false},
      {"10.0.0.1", false},
      {"", false},
  };
  for (const auto& row : rows)
    EXPECT_EQ(proxies.TrustsConnection(row.name), row.trusted) << row.name;
  EXPECT_TRUE(Proxies("unix").TrustsConnection("unix:0:1"));
  EXPECT_TRUE(Proxies("0.0.0.0/0").TrustsConnection("ipv4:1.2.3.4:1"));
  EXPECT_FALSE(Proxies("0.0.0.0/0").TrustsConnection("ipv6:%5B::1%5D:1"));
  EXPECT_TRUE(Proxies("").empty());
}

TEST(TrustedProxies, ListsThatAreNoneAreRefused) {
  for (const char* text : {"10.0.0.0/33", "10.0.0/8", "host", "::1/129", "10.0.0.1/", "10.0.0.1/x",
                           "10.0.0.1/-1", "unix,haproxy"}) {
    const auto proxies = TrustedProxies::Parse(text);
    EXPECT_THAT(std::string(proxies.status().message()), HasSubstr("trusted_proxies has \""))
        << text;
  }
}

TEST(TrustedProxies, TheLastHopThatIsNotTrustedIsTheClient) {
  const TrustedProxies proxies = Proxies("10.0.0.0/8,unix");
  const auto of = [&](const char* forwarded) {
    return proxies.ForwardedAddress("ipv4:10.0.0.1:1", forwarded);
  };
  EXPECT_EQ(of("1.2.3.4"), "ipv4:1.2.3.4");
  EXPECT_EQ(of("9.9.9.9, 1.2.3.4"), "ipv4:1.2.3.4") << "the client may have written the first";
  EXPECT_EQ(of("9.9.9.9, 1.2.3.4, 10.0.0.7"), "ipv4:1.2.3.4");
  EXPECT_EQ(of("10.0.0.9,10.0.0.7"), "ipv4:10.0.0.9") << "inside";
  EXPECT_EQ(of("[2001:db8::1]:443"), "ipv6:2001:db8::/64");
  EXPECT_EQ(of("2001:db8::1"), "ipv6:2001:db8::/64");
  EXPECT_EQ(of("1.2.3.4:443"), "ipv4:1.2.3.4");
  EXPECT_EQ(of("1.2.3.4, unknown"), "");
  EXPECT_EQ(of("1.2.3.4, unknown, 10.0.0.7"), "ipv4:10.0.0.7");
  EXPECT_EQ(of(""), "");
  EXPECT_EQ(of(","), "");
  EXPECT_EQ(proxies.ForwardedAddress("unix:0:1", "1.2.3.4"), "ipv4:1.2.3.4");
  EXPECT_EQ(proxies.ForwardedAddress("ipv4:11.0.0.1:1", "1.2.3.4"), "") << "not trusted";
  EXPECT_EQ(TrustedProxies().ForwardedAddress("unix:0:1", "1.2.3.4"), "");
}

// --------------------------------------------------------------------------------- a whole server

// Whether the server acknowledges the SETTINGS of an HTTP/2 client who says that before.
bool Serves(const std::string& address, const std::string& before) {
  const RawSocket socket(address);
  socket.Send(before + std::string(kHttp2Begin));
  const std::string acknowledged("\0\0\0\4\1\0\0\0\0", 9);
  std::string came;
  char bytes[4096];
  for (;;) {
    const ssize_t got = recv(socket.fd(), bytes, sizeof(bytes), 0);
    if (got <= 0) return false;
    came.append(bytes, static_cast<size_t>(got));
    if (came.find(acknowledged) != std::string::npos) return true;
  }
}

TEST(Proxies, MayNameTheClientWhereTheyAreTrusted) {
  ServerOptions options = AnyPort();
  options.trusted_proxies = "127.0.0.1";
  const auto server = StartServer(options);
  const std::string& address = server->addresses()[0];
  EXPECT_TRUE(Serves(address, ""));
  EXPECT_TRUE(Serves(address, "PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n"));
  EXPECT_TRUE(Serves(address, Binary(0x21, 0x21, kV6)));
  EXPECT_FALSE(Serves(address, "PROXY TCP4 1.2.3.4 5.6.7.8 80\r\n"));
  EXPECT_FALSE(Serves(address, Binary(0x21, 0x12, kV4)));
}

TEST(Proxies, ThatAreNotTrustedAreNotUnderstood) {
  const auto server = StartServer();
  EXPECT_TRUE(Serves(server->addresses()[0], ""));
  EXPECT_FALSE(Serves(server->addresses()[0], "PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n"));
}

TEST(Proxies, ListsThatAreNoneEndTheStart) {
  ServerOptions options = AnyPort();
  options.trusted_proxies = "loadbalancer";
  EXPECT_EQ(Server::Start(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lossd::testing
