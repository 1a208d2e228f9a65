// Which targets are on this machine, and so may have a token in the clear.
#include "client/target.h"

#include <gtest/gtest.h>

namespace lossd {
namespace {

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
