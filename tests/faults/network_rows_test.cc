// Rows 35, 47 and 48 on a network of their own: a namespace with a server in it, joined to this one
// by a pair of interfaces that can be cut, filtered and slowed. Needs root, ip, iptables and tc;
// skipped, loudly, without.
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/raw_client.h"
#include "tests/faults/row.h"

namespace lossd {
namespace {

using ::testing::AnyOf;

// How much after its deadline a call may return; most of it is for a busy machine.
// How much later a call may return, for a busy machine. TCP gives a line up after 10 s.
constexpr absl::Duration kLate = absl::Seconds(5);

bool Shell(const std::string& command) {
  return std::system((command + " > /dev/null 2>&1").c_str()) == 0;
}

// A namespace named for this process, and the interfaces between it and the one we are in.
class Network {
 public:
  Network() : name_(absl::StrCat("lossd", getpid())), out_(absl::StrCat("vo", getpid())) {
    const std::string in = absl::StrCat("vi", getpid());
    const std::string net = absl::StrCat("10.213.", getpid() % 250, ".");
    inner_ = net + "2";
    outer_ = net + "1";
    up_ = Shell("ip netns add " + name_) &&
          Shell("ip link add " + out_ + " type veth peer name " + in + " netns " + name_) &&
          Shell("ip addr add " + outer_ + "/24 dev " + out_) &&
          Shell("ip link set " + out_ + " up") &&
          Inside("ip addr add " + inner_ + "/24 dev " + in) && Inside("ip link set " + in + " up");
  }
  ~Network() {
    Shell("ip link del " + out_);
    Shell("ip netns del " + name_);
  }

  bool up() const { return up_; }
  const std::string& name() const { return name_; }
  const std::string& inner() const { return inner_; }
  const std::string& outer() const { return outer_; }
  const std::string& out() const { return out_; }
  bool Inside(const std::string& command) const {
    return Shell("ip netns exec " + name_ + " " + command);
  }

 private:
  std::string name_, out_, inner_, outer_;
  bool up_ = false;
};

class NetworkRows : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "SKIPPED: network namespaces need root";
    network_ = std::make_unique<Network>();
    if (!network_->up()) GTEST_SKIP() << "SKIPPED: no network namespaces here";
    server_ = std::make_unique<Process>(std::vector<std::string>{
        "/bin/sh", "-c",
        absl::StrCat("exec ip netns exec ", network_->name(), " ", LOSSD_BUILT_BINARY,
                     " --insecure-listen --log-level=error --listen=", network_->inner(),
                     ":50151")});
    address_ = network_->inner() + ":50151";
    ASSERT_TRUE(server_->ReadLine().has_value());
    client_ = std::make_unique<Client>(
        *Client::Connect(address_, {.channels = 1, .block_bytes = 100'000}));
    ASSERT_EQ(Call(), absl::OkStatus());
    base_ = StateOf(server_->pid());
  }

  absl::Status Call(absl::Duration timeout = absl::Seconds(10)) {
    return call_.Try(*client_, TransferMode::kStream, timeout);
  }

  // A cut line: calls fail in time, and it works again soon after it is mended, on the same client.
  void ExpectOutage(const std::string& cut, const std::string& mend) {
    ASSERT_TRUE(Shell(cut)) << cut;
    for (int i = 0; i < 3; ++i) {
      const absl::Time begin = absl::Now();
      EXPECT_THAT(Call(absl::Milliseconds(500)).code(),
                  AnyOf(absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kUnavailable));
      EXPECT_LT(absl::Now() - begin, absl::Milliseconds(500) + kLate);
    }
    ASSERT_TRUE(Shell(mend)) << mend;
    const absl::Time mended = absl::Now();
    EXPECT_TRUE(HoldsWithin(absl::Seconds(60), [this] { return Call(absl::Seconds(10)).ok(); }));
    std::printf("  works again after %s\n", absl::FormatDuration(absl::Now() - mended).c_str());
  }

  const KnownCall call_{600, 200};
  std::unique_ptr<Network> network_;
  std::unique_ptr<Process> server_;
  std::unique_ptr<Client> client_;
  std::string address_;
  ProcessState base_;
};

TEST_F(NetworkRows, Row47_LinkDown) {
  ExpectOutage("ip link set " + network_->out() + " down",
               "ip link set " + network_->out() + " up");
}

class Filters : public NetworkRows, public ::testing::WithParamInterface<const char*> {};

TEST_P(Filters, Row47) {
  const std::string rule = absl::StrCat(" INPUT -p tcp --dport 50151 ", GetParam());
  const std::string iptables = "ip netns exec " + network_->name() + " iptables";
  if (!Shell(iptables + " -A" + rule)) GTEST_SKIP() << "SKIPPED: no iptables here";
  ASSERT_TRUE(Shell(iptables + " -D" + rule));
  ExpectOutage(iptables + " -I" + rule, iptables + " -D" + rule);
}
INSTANTIATE_TEST_SUITE_P(Kinds, Filters,
                         ::testing::Values("-j DROP", "-j REJECT --reject-with tcp-reset"),
                         [](const auto& info) { return info.index == 0 ? "Drop" : "Reject"; });

TEST_F(NetworkRows, Row48_OnePercentLost) {
  if (!network_->Inside(
          "iptables -A INPUT -m statistic --mode random --probability 0.01 -j DROP")) {
    GTEST_SKIP() << "SKIPPED: no iptables with statistic here";
  }
  for (int i = 0; i < 15; ++i) EXPECT_EQ(Call(), absl::OkStatus());
}

TEST_F(NetworkRows, Row48_TenMegabits) {
  if (!Shell("tc qdisc add dev " + network_->out() +
             " root tbf rate 10mbit burst 16kb latency 50ms")) {
    GTEST_SKIP() << "SKIPPED: no tbf here";
  }
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Call(), absl::OkStatus());
}

// Clients that are there no more, without a word: what they held is freed when keepalive notices.
class SlowNetworkRows : public NetworkRows {};

TEST_F(SlowNetworkRows, Row35_ClientsVanish) {
  std::vector<RawClient> clients;
  const testing::Problem problem(64, 2000);
  for (int i = 0; i < 20; ++i) {
    RawClient& client = clients.emplace_back(address_);
    client.Greet(i % 2 == 0 ? 0 : 1 << 20);
    client.Open(1, "/lossd.v1.LossService/ComputeStream");
    for (const auto& part : {problem.Header(), problem.Weights(), problem.Labels()}) {
      client.SendData(1, http2::Message(part.SerializeAsString()));
    }
    client.SendData(1, http2::Message(problem.Block(0, 4).SerializeAsString()));
  }
  ASSERT_TRUE(HoldsWithin(absl::Seconds(60), [&] {
    return StateOf(server_->pid()).descriptors >= base_.descriptors + 20;
  }));
  ASSERT_TRUE(Shell("ip link set " + network_->out() + " down"));
  const absl::Time begin = absl::Now();
  const auto held = [&] { return StateOf(server_->pid()).descriptors - base_.descriptors; };
  for (const int64_t left : {15, 10, 5, 0}) {
    EXPECT_TRUE(
        HoldsWithin(absl::Seconds(90) - (absl::Now() - begin), [&] { return held() <= left; }))
        << held() << " connections are still open";
    std::printf("  at most %ld left after %s\n", static_cast<long>(left),
                absl::FormatDuration(absl::Now() - begin).c_str());
  }
  // Keepalive is 30 s + 10 s; the kernel's own end of an unanswered write comes on top.
  EXPECT_LT(absl::Now() - begin, absl::Seconds(75));
}

}  // namespace
}  // namespace lossd
