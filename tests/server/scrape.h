#ifndef LOSSD_TESTS_SERVER_SCRAPE_H_
#define LOSSD_TESTS_SERVER_SCRAPE_H_

#include <map>
#include <string>

namespace lossd::testing {

// The whole answer of an HTTP server on loopback; empty: it closed the connection without one.
std::string Http(const std::string& address, const std::string& request_line);

// What follows the headers.
std::string BodyOf(const std::string& answer);

// The text of http://ADDRESS/metrics, with a failure of the test unless it is 200 OK.
std::string ScrapeText(const std::string& address);

// Samples of a text by what stands before the value: name, or name{label="value",...}.
using Samples = std::map<std::string, double>;
Samples ParseSamples(const std::string& text);
inline Samples Scrape(const std::string& address) { return ParseSamples(ScrapeText(address)); }

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SERVER_SCRAPE_H_
