#include "core/types/printable.h"

namespace lossd {
namespace {

constexpr std::string_view kCut = "...";
constexpr char kHex[] = "0123456789abcdef";

// `special` characters get a backslash.
std::string Quoted(std::string_view text, std::string_view special) {
  std::string quoted = "\"";
  quoted.reserve(text.size() + 2);
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) quoted += '\\';
    quoted += c;
  }
  return quoted += '"';
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string printable;
  size_t cut = 0;  // where there is still room for kCut
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte > 0x7e) {
      printable += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      if (c == '\\') printable += c;
      printable += c;
    }
    if (printable.size() > kMaxPrintableBytes) return printable.substr(0, cut).append(kCut);
    if (printable.size() <= kMaxPrintableBytes - kCut.size()) cut = printable.size();
  }
  return printable;
}

std::string JsonValue(std::string_view printable) { return Quoted(printable, "\"\\"); }

std::string TextValue(std::string_view printable) {
  if (!printable.empty() && printable.find_first_of(" \"=") == std::string_view::npos) {
    return std::string(printable);
  }
  return Quoted(printable, "\"");
}

}  // namespace lossd
