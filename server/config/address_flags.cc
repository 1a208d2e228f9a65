#include "server/config/address_flags.h"

#include <utility>

#include "server/listen/listen_address.h"

namespace lossd {
namespace {

absl::Status CheckAddress(const std::string& text) { return ListenAddress::Parse(text).status(); }

}  // namespace

Flag AddressFlag(std::string name, std::string& value, std::string help) {
  return CheckedTextFlag(std::move(name), value, "ADDR", std::move(help), CheckAddress);
}

Flag AddressesFlag(std::string name, std::vector<std::string>& values, std::string help) {
  return CheckedTextsFlag(std::move(name), values, "ADDR", std::move(help), CheckAddress);
}

}  // namespace lossd
