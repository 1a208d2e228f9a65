// Rows in which the other end is somebody else's program: h2load (nghttp2), curl and openssl.
// Skipped, loudly, where they are not installed (scripts/packages, group test).
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/faults/http2.h"
#include "tests/faults/row.h"
#include "tests/support/certificates.h"
#include "tests/support/temp_dir.h"

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
  const TempDir scratch;
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
    // The stream is reset once it is answered: a curl that is still sending may show neither.
    std::string answer;
    for (int attempt = 0; answer.empty() && attempt < 5; ++attempt) {
      answer = OutputOf(curl + "--http2-prior-knowledge" + url + request);
    }
    EXPECT_THAT(answer, AllOf(HasSubstr("grpc-status: "), Not(HasSubstr("grpc-status: 0"))));
  }
  EXPECT_THAT(OutputOf(curl + "--http1.1" + url + "/"), Not(HasSubstr("HTTP/1.1 200")));
  const std::string grpc = OutputOf(
      "curl --http2-prior-knowledge -s -i -m 5 -X POST -H 'te: trailers' "
      "-H 'content-type: application/grpc' --data-binary 'garbage' http://" +
      address() + "/lossd.v1.LossService/Compute");
  EXPECT_THAT(grpc, Not(HasSubstr("grpc-status: 0")));
}

// Mutual TLS as an edge: what clients that are not gRPC's get to see behind it, and who gets there.
class Edge : public ::testing::Test {
 protected:
  // What curl says to a Compute call over TLS; the trailers are part of it.
  std::string Curl(const std::string& how) const {
    return OutputOf(absl::StrCat(
        "curl -s -S -m 5 --http2 -o ", scratch_.Path("answer"), " -D - -X POST -H 'te: trailers' ",
        "-H 'content-type: application/grpc' --data-binary @", body_, " ", how, " https://",
        server_.address(), "/lossd.v1.LossService/Compute"));
  }
  std::string OpenSsl(const std::string& how) const {
    return OutputOf(absl::StrCat("openssl s_client -connect ", server_.address(), " -alpn h2 ", how,
                                 " < /dev/null"));
  }
  std::string Identify(const Identity& identity, const std::string& name) const {
    return absl::StrCat(" --cert ", scratch_.Write(name + ".pem", identity.certificate), " --key ",
                        scratch_.Write(name + ".key", identity.key));
  }

  const TempDir scratch_;
  const Authority ca_{"servers"};
  const Authority client_ca_{"clients"};
  const Identity identity_ = ca_.Sign(1);
  const std::string trust_ = " --cacert " + scratch_.Write("ca.pem", ca_.certificate());
  const testing::Problem problem_{16, 100};
  const std::string body_ =
      scratch_.Write("body", http2::Message(problem_.Request().SerializeAsString()));
  const ServerProcess server_{
      {"127.0.0.1:0"},
      {"--log-level=error", "--tls-cert=" + scratch_.Write("server.pem", identity_.certificate),
       "--tls-key=" + scratch_.Write("server.key", identity_.key),
       "--tls-client-ca=" + scratch_.Write("clients.pem", client_ca_.certificate())}};
};

TEST_F(Edge, Row51_CurlWithTheRightCertificateIsAnswered) {
  if (!Has("curl")) GTEST_SKIP() << "curl is not installed";
  EXPECT_THAT(Curl(trust_ + Identify(client_ca_.Sign(2), "client")),
              AllOf(HasSubstr("HTTP/2 200"), HasSubstr("grpc-status: 0")));
  std::ifstream file(scratch_.Path("answer"), std::ios::binary);
  const std::string answer((std::istreambuf_iterator<char>(file)), {});
  v1::ComputeResponse response;
  ASSERT_GT(answer.size(), 5u);
  ASSERT_TRUE(response.ParseFromString(answer.substr(5)));
  EXPECT_EQ(response.result().loss(), problem_.result.loss);
}

TEST_F(Edge, Row51_CurlIsNotLetInWithoutIt) {
  if (!Has("curl")) GTEST_SKIP() << "curl is not installed";
  const std::string good = Identify(client_ca_.Sign(2), "client");
  const std::string ca_of_clients = " --cacert " + scratch_.Path("clients.pem");
  for (const std::string& how :
       {trust_, trust_ + Identify(Authority("clients").Sign(3), "stranger"),
        trust_ + Identify(client_ca_.Sign(4, -7200, -3600), "expired"), ca_of_clients + good,
        trust_ + good + " --tls-max 1.1 --ciphers DEFAULT:@SECLEVEL=0"}) {
    EXPECT_THAT(Curl(how), AllOf(HasSubstr("curl: ("), Not(HasSubstr("grpc-status")))) << how;
  }
  EXPECT_THAT(OutputOf("curl -s -S -m 5 --http2-prior-knowledge http://" + server_.address()),
              HasSubstr("curl: ("))
      << "in the clear";
  EXPECT_THAT(Curl(trust_ + good), HasSubstr("grpc-status: 0")) << "others get in as before";
}

TEST_F(Edge, Row51_OpenSslIsOfferedTodaysVersions) {
  if (!Has("openssl")) GTEST_SKIP() << "openssl is not installed";
  // So that it is the server who refuses.
  const std::string lax = " -cipher DEFAULT:@SECLEVEL=0";
  const auto hung_up_on =
      AllOf(HasSubstr("unexpected eof while reading"), Not(HasSubstr("written 0 bytes")));
  EXPECT_THAT(OpenSsl("-tls1" + lax), hung_up_on);
  EXPECT_THAT(OpenSsl("-tls1_1" + lax), hung_up_on);
  const Identity client = client_ca_.Sign(6);
  const std::string identified = absl::StrCat(" -CAfile ", scratch_.Path("ca.pem"), " -cert ",
                                              scratch_.Write("c.pem", client.certificate), " -key ",
                                              scratch_.Write("c.key", client.key));
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    EXPECT_THAT(OpenSsl(version + identified),
                AllOf(HasSubstr("Verify return code: 0 (ok)"), HasSubstr("ALPN protocol: h2")));
  }
  EXPECT_THAT(OpenSsl("-tls1_2"), hung_up_on) << "without a certificate";
}

}  // namespace
}  // namespace lossd
