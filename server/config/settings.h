#ifndef LOSSD_SERVER_CONFIG_SETTINGS_H_
#define LOSSD_SERVER_CONFIG_SETTINGS_H_

#include <string>
#include <utility>
#include <vector>

namespace lossd {

// Names as flags have them, and values for people; nothing secret.
using Settings = std::vector<std::pair<std::string, std::string>>;

// In one line: name=value ..., values with blanks or control characters escaped and in quotes.
std::string OneLine(const Settings& settings);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_SETTINGS_H_
