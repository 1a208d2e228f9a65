#include "server/config/variables.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "core/types/printable.h"

namespace lossd {
namespace {

constexpr std::string_view kPrefix = "LOSSD_";

// No settings, or of those who build, test or call lossd.
constexpr std::array<std::string_view, 6> kOfOthers = {
    "LOSSD_CONFIG",           // names the file of settings
    "LOSSD_FORCE_TARGET",     // a SIMD target
    "LOSSD_SERVER",           // lossctl
    "LOSSD_TEST_SEED",        // tests
    "LOSSD_BINARY",           // tests
    "LOSSD_CONFORMANCE_DIR",  // tests
};

bool IsOfOthers(std::string_view name) {
  return std::find(kOfOthers.begin(), kOfOthers.end(), name) != kOfOthers.end();
}

// "LOSSD_MAX_STREAMS" -> "max-streams"
std::string FlagOf(std::string_view variable) {
  std::string flag(variable.substr(kPrefix.size()));
  absl::AsciiStrToLower(&flag);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

bool IsProtocol(std::string_view text) {
  return text == "tcp" || text == "udp" || text == "sctp" || text == "TCP" || text == "UDP" ||
         text == "SCTP";
}

// "tcp://10.0.0.1:50151"
bool IsServiceUrl(std::string_view value) {
  const size_t scheme = value.find("://");
  return scheme != std::string_view::npos && IsProtocol(value.substr(0, scheme));
}

bool IsNumber(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Of the parts of a name behind _PORT: a number and a protocol, then perhaps one word more.
bool IsOfOnePort(std::string_view rest) {
  const std::vector<absl::string_view> parts =
      absl::StrSplit(absl::string_view(rest.data(), rest.size()), '_');
  const auto part = [&](size_t i) { return std::string_view(parts[i].data(), parts[i].size()); };
  if (parts.size() < 2 || parts.size() > 3) return false;
  if (!IsNumber(part(0)) || !IsProtocol(part(1))) return false;
  return parts.size() == 2 || part(2) == "PROTO" || part(2) == "PORT" || part(2) == "ADDR";
}

}  // namespace

std::string VariableOf(std::string_view flag) {
  std::string variable(flag);
  absl::AsciiStrToUpper(&variable);
  std::replace(variable.begin(), variable.end(), '-', '_');
  return std::string(kPrefix) + variable;
}

bool IsServiceVariable(std::string_view name, std::string_view value) {
  if (!name.starts_with(kPrefix)) return false;
  if (name.ends_with("_SERVICE_HOST")) return true;
  constexpr std::string_view kServicePort = "_SERVICE_PORT";
  const size_t service = name.find(kServicePort);
  if (service != std::string_view::npos) {
    const std::string_view rest = name.substr(service + kServicePort.size());
    return rest.empty() || rest.front() == '_';
  }
  if (name.ends_with("_PORT") && IsServiceUrl(value)) return true;
  constexpr std::string_view kPort = "_PORT_";
  const size_t port = name.find(kPort);
  return port != std::string_view::npos && IsOfOnePort(name.substr(port + kPort.size()));
}

absl::StatusOr<std::vector<Given>> ReadVariables(const std::vector<std::string>& variables,
                                                 const FlagList& flags) {
  std::vector<Given> all;
  for (const std::string& variable : variables) {
    const size_t equals = variable.find('=');
    if (!variable.starts_with(kPrefix) || equals == std::string::npos) continue;
    const std::string name = variable.substr(0, equals);
    const std::string value = variable.substr(equals + 1);
    const Flag* const flag = flags.Find(FlagOf(name));
    if (flag == nullptr || VariableOf(flag->name) != name) {
      if (IsOfOthers(name) || IsServiceVariable(name, value)) continue;
      return absl::InvalidArgumentError(absl::StrCat("environment: ", Printable(name),
                                                     " is no setting; wanted perhaps ",
                                                     VariableOf(flags.NearestTo(FlagOf(name)))));
    }
    if (value.empty()) continue;
    Given& given = all.emplace_back(Given{flag->name, {value}, name});
    if (flag->takes == Flag::Takes::kMany) given.values = absl::StrSplit(value, ',');
  }
  return all;
}

}  // namespace lossd
