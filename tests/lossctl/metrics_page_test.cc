// Where lossctl bench reads metrics, and what it says when it cannot. The servers are the test's.
#include "client/lossctl/bench/metrics_page.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd::lossctl {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(30);

TEST(MetricsAddresses, OneOrSome) {
  const auto addresses =
      ParseMetricsAddresses("--metrics", "lossd-1:50153,[::1]:1,127.0.0.1:65535");
  ASSERT_TRUE(addresses.ok()) << addresses.status();
  ASSERT_EQ(addresses->size(), 3u);
  EXPECT_EQ((*addresses)[0].host, "lossd-1");
  EXPECT_EQ((*addresses)[0].port, 50153);
  EXPECT_EQ((*addresses)[1].host, "::1");
  EXPECT_EQ((*addresses)[1].text, "[::1]:1");
  EXPECT_EQ((*addresses)[2].port, 65535);
  for (const char* wrong : {"", "a", "a:", ":1", "a:0", "a:65536", "a:x", "::1:1", "[]:1", "[::1]",
                            "http://a:1", "a:1/metrics", "a:1,", ",a:1", "a b:1"}) {
    const absl::Status error = ParseMetricsAddresses("--metrics", wrong).status();
    EXPECT_TRUE(absl::IsInvalidArgument(error)) << wrong;
    EXPECT_THAT(std::string(error.message()), HasSubstr("--metrics has '"));
  }
}

// An HTTP server that answers /metrics.
class Pages {
 public:
  explicit Pages(httplib::Server::Handler handler) {
    server_.Get("/metrics", std::move(handler));
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();  // else it could not be stopped
  }
  ~Pages() {
    server_.stop();
    thread_.join();
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  MetricsAddress address() const { return {absl::StrCat("127.0.0.1:", port_), "127.0.0.1", port_}; }

 private:
  httplib::Server server_;
  int port_;
  std::thread thread_;
};

TEST(MetricsPage, IsTheBody) {
  const Pages pages([](const httplib::Request& request, httplib::Response& response) {
    response.set_content("of " + request.get_header_value("Host"), "text/plain");
  });
  const auto page = ReadMetricsPage(pages.address(), kPatience);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(*page, "of " + pages.address().text);
}

absl::Status FaultOf(const MetricsAddress& address) {
  const absl::Status status = ReadMetricsPage(address, kPatience).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("http://" + address.text + "/metrics: "));
  return status;
}

TEST(MetricsPage, NoPageOrTooMuchOfItIsSaid) {
  const Pages missing(
      [](const httplib::Request&, httplib::Response& response) { response.status = 503; });
  EXPECT_THAT(std::string(FaultOf(missing.address()).message()), HasSubstr("HTTP status 503"));
  const Pages elsewhere([](const httplib::Request&, httplib::Response& response) {
    response.set_redirect("http://127.0.0.1:1/metrics");
  });
  EXPECT_THAT(std::string(FaultOf(elsewhere.address()).message()), HasSubstr("HTTP status 302"));
  const Pages endless([](const httplib::Request&, httplib::Response& response) {
    response.set_chunked_content_provider("text/plain", [](size_t, httplib::DataSink& sink) {
      const std::string some(1 << 16, 'x');
      return sink.write(some.data(), some.size());
    });
  });
  EXPECT_THAT(std::string(FaultOf(endless.address()).message()),
              HasSubstr(absl::StrCat("more than ", kMostPageBytes, " bytes")));
}

TEST(MetricsPage, NobodyListens) {
  // Bound, so that nobody else gets the port, and deaf.
  const int deaf = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(deaf, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  socklen_t size = sizeof(address);
  ASSERT_EQ(getsockname(deaf, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const int port = ntohs(address.sin_port);
  EXPECT_THAT(std::string(FaultOf({absl::StrCat("127.0.0.1:", port), "127.0.0.1", port}).message()),
              HasSubstr("nobody listens there"));
  close(deaf);
}

}  // namespace
}  // namespace lossd::lossctl
