#include "tests/server/scrape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "tests/server/raw_socket.h"

namespace lossd::testing {

std::string Http(const std::string& address, const std::string& request_line) {
  const RawSocket socket(address);
  socket.Send(request_line + " HTTP/1.1\r\nHost: lossd\r\nConnection: close\r\n\r\n");
  std::string answer;
  char bytes[4096];
  for (ssize_t got = 1; got > 0;) {
    got = recv(socket.fd(), bytes, sizeof(bytes), 0);
    if (got > 0) answer.append(bytes, static_cast<size_t>(got));
  }
  return answer;
}

std::string BodyOf(const std::string& answer) {
  const size_t blank = answer.find("\r\n\r\n");
  return blank == std::string::npos ? "" : answer.substr(blank + 4);
}

std::string ScrapeText(const std::string& address) {
  const std::string answer = Http(address, "GET /metrics");
  EXPECT_THAT(answer, ::testing::StartsWith("HTTP/1.1 200 OK\r\n"));
  return BodyOf(answer);
}

Samples ParseSamples(const std::string& text) {
  Samples samples;
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  for (const std::string& line : lines) {
    if (line.front() == '#') continue;
    const size_t blank = line.rfind(' ');
    double value = 0;
    EXPECT_TRUE(absl::SimpleAtod(line.substr(blank + 1), &value)) << line;
    EXPECT_TRUE(samples.emplace(line.substr(0, blank), value).second) << "twice: " << line;
  }
  return samples;
}

}  // namespace lossd::testing
