// A call returns at its deadline although nobody takes what it sends: the other end greets, allows
// any amount, and reads nothing.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lossd/client.h"

namespace lossd {
namespace {

constexpr absl::Duration kTimeout = absl::Milliseconds(300);

// How much later a call may return; most of it is for a busy machine. Without help TCP gives a line
// up after 10 s, and a Unix socket never.
constexpr absl::Duration kLate = absl::Seconds(5);

// SETTINGS with an initial window of 2^31 - 1, the same for the connection, SETTINGS acknowledged.
constexpr char kGreeting[] =
    "\0\0\6\4\0\0\0\0\0"
    "\0\4\x7f\xff\xff\xff"
    "\0\0\4\x8\0\0\0\0\0"
    "\x7f\xff\0\0"
    "\0\0\0\4\1\0\0\0\0";

class DeafServer {
 public:
  explicit DeafServer(bool tcp) {
    listener_ = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (tcp) {
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t size = sizeof(address);
      Listen(reinterpret_cast<sockaddr*>(&address), size);
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
      target_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
    } else {
      path_ = testing::TempDir() + absl::StrCat("deaf", getpid());
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
      Listen(reinterpret_cast<sockaddr*>(&address), sizeof(address));
      target_ = "unix:" + path_;
    }
    thread_ = std::thread([this] { Accept(); });
  }
  ~DeafServer() {
    shutdown(listener_, SHUT_RDWR);
    stop_ = true;
    thread_.join();
    for (const int fd : connections_) close(fd);
    close(listener_);
    if (!path_.empty()) std::filesystem::remove(path_);
  }

  const std::string& target() const { return target_; }

 private:
  void Listen(const sockaddr* address, socklen_t size) const {
    EXPECT_EQ(bind(listener_, address, size), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
  }

  void Accept() {
    while (!stop_) {
      pollfd polled = {listener_, POLLIN, 0};
      poll(&polled, 1, /*ms=*/50);
      if ((polled.revents & POLLIN) == 0) continue;
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      EXPECT_EQ(write(fd, kGreeting, sizeof(kGreeting) - 1), ssize_t{sizeof(kGreeting) - 1});
      connections_.push_back(fd);
    }
  }

  int listener_;
  std::string path_;
  std::string target_;
  std::vector<int> connections_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class StuckLine : public testing::TestWithParam<std::tuple<bool, TransferMode>> {};

TEST_P(StuckLine, CallsReturnAtTheirDeadline) {
  const auto [tcp, mode] = GetParam();
  DeafServer server(tcp);
  Client client = *Client::Connect(server.target(), {.channels = 1});
  const std::vector<float> predictions(16 << 20);
  const std::vector<int64_t> labels(16 << 10);
  std::vector<float> gradient(predictions.size());
  LossInputs inputs;
  inputs.predictions = TensorView::Of<float>(predictions, {16 << 10, 1 << 10});
  inputs.targets = TensorView::Of<int64_t>(labels, {16 << 10});
  for (int i = 0; i < 3; ++i) {
    const absl::Time begin = absl::Now();
    const absl::StatusOr<LossResult> answer =
        client.Compute({}, inputs, {.gradient = BytesOf(absl::MakeSpan(gradient))},
                       {.timeout = kTimeout, .mode = mode});
    EXPECT_EQ(answer.status().code(), absl::StatusCode::kDeadlineExceeded) << answer.status();
    EXPECT_GE(absl::Now() - begin, kTimeout);
    EXPECT_LT(absl::Now() - begin, kTimeout + kLate);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Lines, StuckLine,
    testing::Combine(testing::Bool(), testing::Values(TransferMode::kUnary, TransferMode::kStream)),
    [](const auto& info) {
      return absl::StrCat(std::get<0>(info.param) ? "Tcp" : "Unix",
                          std::get<1>(info.param) == TransferMode::kUnary ? "Unary" : "Stream");
    });

}  // namespace
}  // namespace lossd
