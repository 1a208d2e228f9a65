// Rows in which the other end is somebody else's program: h2load (nghttp2) and curl. Skipped,
// loudly, where they are not installed (scripts/packages, group test).
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/faults/http2.h"
#include "tests/faults/row.h"
#include "tests/lossctl/scratch.h"

namespace lossd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string OutputOf(const std::string& command) {
  FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  std::string output;
  char bytes[4096];
  for (size_t got; (got = fread(bytes, 1, sizeof bytes, pipe)) > 0;) output.append(bytes, got);
  pclose(pipe);
  return output;
}

bool Has(const std::string& program) {
  return std::system(absl::StrCat("command -v ", program, " > /dev/null").c_str()) == 0;
}

class OutsideRows : public Row {};

TEST_F(OutsideRows, Row41_H2loadCallsCompute) {
  if (!Has("h2load")) GTEST_SKIP() << "h2load is not installed: nghttp2-client";
  Serve();
  const lossctl::Scratch scratch;
  const testing::Problem problem(16, 100);
  const std::string body =
      scratch.Write("body", http2::Message(problem.Request().SerializeAsString()));
  const std::string output =
      OutputOf(absl::StrCat("h2load -n 4000 -c 8 -m 8 -d ", body,
                            " -H 'content-type: application/grpc' -H 'te: trailers' http://",
                            address(), "/lossd.v1.LossService/Compute"));
  EXPECT_THAT(output, HasSubstr("4000 succeeded, 0 failed"));
  std::printf("%s\n", output.substr(output.find("finished in")).c_str());
}

// Plain HTTP/2 requests, HTTP/1.1 ones and garbage: an answer or a closed connection.
TEST_F(OutsideRows, Row20_CurlAsksForOtherThings) {
  if (!Has("curl")) GTEST_SKIP() << "curl is not installed";
  Serve();
  const std::string curl = "curl -s -i -m 5 ";
  const std::string url = " http://" + address();
  for (const char* request : {"/", "/x -X PUT -d x", "/lossd.v1.LossService/Compute"}) {
    const std::string answer = OutputOf(curl + "--http2-prior-knowledge" + url + request);
    EXPECT_THAT(answer, AllOf(HasSubstr("grpc-status: "), Not(HasSubstr("grpc-status: 0"))));
  }
  EXPECT_THAT(OutputOf(curl + "--http1.1" + url + "/"), Not(HasSubstr("HTTP/1.1 200")));
  const std::string grpc = OutputOf(
      "curl --http2-prior-knowledge -s -i -m 5 -X POST -H 'te: trailers' "
      "-H 'content-type: application/grpc' --data-binary 'garbage' http://" +
      address() + "/lossd.v1.LossService/Compute");
  EXPECT_THAT(grpc, Not(HasSubstr("grpc-status: 0")));
}

}  // namespace
}  // namespace lossd
