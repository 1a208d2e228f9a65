// What the text of a target means: whom it names, and whether they are on this machine, and so may
// have a token in the clear.
#include "client/grpc/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lossd {
namespace {

using ::testing::HasSubstr;

struct TargetRow {
  const char* target;
  std::vector<std::string> dialled;
  bool replicas;
};

TEST(ReadTarget, NamesTheServersToDial) {
  const TargetRow rows[] = {
      {"a.example:1", {"a.example:1"}, false},
      {"[::1]:2", {"[::1]:2"}, false},
      {"ipv4:127.0.0.1:1", {"ipv4:127.0.0.1:1"}, false},
      {"xds:///loss", {"xds:///loss"}, false},
      {"unix:/run/lossd", {"unix:/run/lossd"}, false},
      {"unix:/run/a,b", {"unix:/run/a,b"}, false},
      {"unix-abstract:a,b", {"unix-abstract:a,b"}, false},
      {"dns:///loss.example:1", {"dns:///loss.example:1"}, true},
      {"dns:loss.example:1", {"dns:loss.example:1"}, true},
      {"a:1,b:2", {"a:1", "b:2"}, true},
      {"a:1, b:2", {"a:1", "b:2"}, true},
      {"a:1,unix:/run/b,dns:///c:3", {"a:1", "unix:/run/b", "dns:///c:3"}, true},
      {"ipv4:10.0.0.1:1,10.0.0.2:1", {"ipv4:10.0.0.1:1", "ipv4:10.0.0.2:1"}, true},
      {"ipv6:[::1]:1,[::2]:1", {"ipv6:[::1]:1", "ipv6:[::2]:1"}, true},
  };
  for (const TargetRow& row : rows) {
    const absl::StatusOr<Endpoints> got = ReadTarget(row.target);
    ASSERT_TRUE(got.ok()) << row.target << ": " << got.status();
    EXPECT_EQ(got->targets, row.dialled) << row.target;
    EXPECT_EQ(got->replicas, row.replicas) << row.target;
  }
}

TEST(ReadTarget, RefusesHolesAndTooMany) {
  for (const char* const bad :
       {"", ",", "a:1,", ",a:1", "a:1,,b:2", "a:1, ,b:2", "ipv4:", "ipv4:,"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadTarget(bad).status())) << bad;
  }
  EXPECT_THAT(std::string(ReadTarget("a:1,,b:2").status().message()), HasSubstr("'a:1,,b:2'"));
  std::string many = "a:1";
  for (size_t i = 1; i < kMaxTargets; ++i) many += ",a:1";
  EXPECT_TRUE(ReadTarget(many).ok());
  EXPECT_THAT(std::string(ReadTarget(many + ",a:1").status().message()), HasSubstr("257"));
}

struct Slip {
  const char* target;
  const char* words;
};

TEST(ReadTarget, SaysWhatIsMeantByCommonSlips) {
  const Slip slips[] = {
      {"127.0.0.1", "'127.0.0.1', without a port; wanted 127.0.0.1:50151"},
      {"localhost", "wanted localhost:50151"},
      {"loss.example", "without a port"},
      {"[::1]", "wanted [::1]:50151"},
      {"a:1,b", "'b', without a port"},
      {"ipv4:10.0.0.1", "without a port"},
      {"dns:///loss.example", "without a port"},
      {"dns://10.0.0.1/loss.example", "without a port"},
      {"::1", "[address]:port"},
      {":50151", "without a host"},
      {"localhost:", "port is ''"},
      {"localhost:0", "port is '0'"},
      {"localhost:65536", "port is '65536'"},
      {"localhost:50151/", "port is '50151/'"},
      {"localhost:port", "port is 'port'"},
      {"http://localhost:50151", "a URL of http; wanted host:port"},
      {"https://localhost:50151", "a URL of https"},
      {"grpc://localhost:50151", "a URL of grpc"},
      {"a:1,tcp://b:2", "a URL of tcp"},
      {"unix:", "without a path"},
      {"unix:@lossd",
       "a file named '@lossd'; wanted unix:/path, or for an abstract socket "
       "unix-abstract:lossd"},
      {"unix-abstract:", "without a name"},
  };
  for (const Slip& slip : slips) {
    const absl::Status status = ReadTarget(slip.target).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << slip.target;
    EXPECT_THAT(std::string(status.message()), HasSubstr(slip.words)) << slip.target;
  }
}

TEST(IsLocalTarget, SocketsAndLoopbackAddresses) {
  for (const char* const local : {"unix:/run/lossd",
                                  "unix:relative",
                                  "unix:///run/lossd",
                                  "unix-abstract:lossd",
                                  "127.0.0.1:50151",
                                  "127.0.0.1",
                                  "127.255.3.4:1",
                                  "[::1]:50151",
                                  "[::1]",
                                  "::1",
                                  "[::ffff:127.0.0.1]:1",
                                  "localhost:50151",
                                  "localhost",
                                  "LocalHost:1",
                                  "dns:localhost:50151",
                                  "dns:///localhost:50151",
                                  "dns:///127.0.0.1:1",
                                  "ipv4:127.0.0.1:1",
                                  "ipv4:127.0.0.1:1,127.0.0.2:1",
                                  "ipv6:[::1]:1",
                                  "ipv6:[::1]:1,[::1]:2"}) {
    EXPECT_TRUE(IsLocalTarget(local)) << local;
  }
}

TEST(IsLocalTarget, NothingElse) {
  for (const char* const other :
       {"", ":50151", "loss.example:50151", "localhost.example:1", "notlocalhost:1", "10.0.0.1:1",
        "128.0.0.1:1", "0.0.0.0:1", "[::]:1", "[::2]:1", "[::ffff:10.0.0.1]:1",
        "[2001:db8::1]:50151",
        // Numbers that resolvers, not all alike, make an address of.
        "127.1:1", "0x7f.0.0.1:1", "2130706433:1", "127.0.0.1.:1",
        // One of several, another resolver, a scheme that is not one.
        "ipv4:127.0.0.1:1,10.0.0.1:1", "ipv4:127.0.0.1%2C10.0.0.1:1", "127.0.0.1:1,10.0.0.1:1",
        "dns://10.0.0.1/localhost:1", "dns:/localhost:1", "UNIX:/run/lossd", "unix.example:1",
        "xds:///localhost", "http://localhost:1", "localhost:1@loss.example:2", "localhost :1"}) {
    EXPECT_FALSE(IsLocalTarget(other)) << other;
  }
}

}  // namespace
}  // namespace lossd
