#ifndef LOSSD_TESTS_SERVER_RAW_HTTP2_H_
#define LOSSD_TESTS_SERVER_RAW_HTTP2_H_

#include <string>
#include <utility>
#include <vector>

namespace lossd::testing {

using Headers =
    std::vector<std::pair<std::string, std::string>>;  // names and values below 127 bytes

// One call with an empty message over a connection of its own, for what no client library sends:
// `more` goes to the server as it is, in literal fields. Returns all bytes of the answer, up to the
// end of the stream or of the connection. `address` is an IPv4 address with a port.
std::string RawHttp2Call(const std::string& address, const std::string& path, const Headers& more);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SERVER_RAW_HTTP2_H_
