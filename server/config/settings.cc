#include "server/config/settings.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace lossd {

std::string OneLine(const Settings& settings) {
  std::string line;
  for (const auto& [name, value] : settings) {
    const bool plain = !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
      return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '"' && c != '\\';
    });
    absl::StrAppend(&line, line.empty() ? "" : " ", name, "=",
                    plain ? value : absl::StrCat("\"", absl::CEscape(value), "\""));
  }
  return line;
}

}  // namespace lossd
