// What proxies and clients say about addresses: PROXY headers, x-forwarded-for, names of
// connections.
//   input: one byte; then the first bytes of a connection, or a list of proxies (one byte of its
//   length before), and what is forwarded

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/admission/peer_address.h"
#include "server/admission/trusted_proxies.h"
#include "server/listen/peer_name.h"
#include "server/listen/proxy_header.h"
#include "tests/fuzz/input.h"

namespace lossd::fuzz {
namespace {

bool IsAddress(const std::string& text) {
  return text.starts_with("ipv4:") || (text.starts_with("ipv6:") && text.ends_with("/64"));
}

// A header is the same however much of the connection is there, and none before all of it is.
void TryHeader(const std::string& bytes) {
  const auto whole = ReadProxyHeader(bytes);
  const bool found = whole.ok() && whole->has_value();
  const size_t size = found ? (*whole)->size : 0;
  Require(size <= bytes.size() && size <= kMostProxyHeaderBytes, "more than there is");
  for (size_t n = 0; n < bytes.size(); ++n) {
    const auto part = ReadProxyHeader(std::string_view(bytes).substr(0, n));
    if (!part.ok()) {
      Require(!whole.ok(), "bad at first, and good with more");
    } else if (part->has_value()) {
      Require(found && (*part)->size == size &&
                  (*part)->source.has_value() == (*whole)->source.has_value(),
              "another header with more bytes");
      Require(size == 0 || n >= size, "a header before all of it is there");
    }
  }
  if (!found || !(*whole)->source) return;
  const PeerName name = PeerName::Of(*(*whole)->source);
  Require(IsAddress(PeerAddressOf(name.text)), name.text);
}

void TryForwarded(Input& input) {
  const std::string list = input.Bytes(input.Byte());
  const auto proxies = TrustedProxies::Parse(list);
  const std::string rest = input.Rest();
  static_cast<void>(PeerAddressOf(rest));
  if (!proxies.ok()) return;
  for (const std::string& connection :
       {std::string("ipv4:10.0.0.1:1"), std::string("ipv6:%5B::1%5D:1"), std::string("unix:0:1"),
        rest}) {
    const std::string address = proxies->ForwardedAddress(connection, rest);
    Require(address.empty() || IsAddress(address), address);
    Require(address.empty() || proxies->TrustsConnection(connection), "nobody is believed");
  }
}

}  // namespace

void TestOne(Input input) {
  if (input.Flag()) {
    TryHeader(input.Rest());
  } else {
    TryForwarded(input);
  }
}

}  // namespace lossd::fuzz
