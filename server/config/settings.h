#ifndef LOSSD_SERVER_CONFIG_SETTINGS_H_
#define LOSSD_SERVER_CONFIG_SETTINGS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lossd {

// Names as flags have them, and values for people; nothing secret.
using Settings = std::vector<std::pair<std::string, std::string>>;

// "64MiB", "1000".
std::string SizeText(int64_t bytes);

// In one line: name=value ..., values with blanks or control characters escaped and in quotes.
std::string OneLine(const Settings& settings);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_SETTINGS_H_
