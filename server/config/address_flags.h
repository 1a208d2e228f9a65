#ifndef LOSSD_SERVER_CONFIG_ADDRESS_FLAGS_H_
#define LOSSD_SERVER_CONFIG_ADDRESS_FLAGS_H_

#include <string>
#include <vector>

#include "core/flags/flag.h"

namespace lossd {

// Addresses to listen on, as ListenAddress::Parse reads them; `value` outlives the flag.
Flag AddressFlag(std::string name, std::string& value, std::string help);
Flag AddressesFlag(std::string name, std::vector<std::string>& values, std::string help);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_ADDRESS_FLAGS_H_
