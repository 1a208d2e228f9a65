#include "server/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/flags/values.h"
#include "server/listen/listen_address.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

absl::StatusOr<CommandLine> Parse(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "lossd");
  return ParseCommandLine(static_cast<int>(flags.size()), flags.data());
}

TEST(CommandLine, Defaults) {
  const auto line = Parse({});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_THAT(line->server.listen, ElementsAre("127.0.0.1:50151"));
  EXPECT_EQ(line->server.threads, 0);
  EXPECT_EQ(line->server.limits.max_unary_bytes, wire::Limits().max_unary_bytes);
  EXPECT_EQ(line->drain_timeout, absl::Seconds(30));
  EXPECT_TRUE(line->print.empty());
}

TEST(CommandLine, EveryFlag) {
  const auto line = Parse({"--listen=[::1]:0",
                           "--listen=unix:/tmp/x",
                           "--threads=3",
                           "--max-unary-bytes=1MiB",
                           "--max-block-bytes=2000000",
                           "--max-side-bytes=3GiB",
                           "--max-tensor-bytes=4kib",
                           "--auth-token-file=/etc/tokens",
                           "--drain-timeout=1.5",
                           "--insecure-listen",
                           "--health-listen=127.0.0.1:0",
                           "--tls-cert=a.pem",
                           "--tls-key=b.pem",
                           "--tls-client-ca=c.pem",
                           "--reflection",
                           "--max-connections=17",
                           "--max-streams=18",
                           "--handshake-timeout=0.25",
                           "--keepalive-time=19",
                           "--keepalive-timeout=20",
                           "--connection-idle=21",
                           "--connection-age=0",
                           "--connection-age-grace=22"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_THAT(line->server.listen, ElementsAre("[::1]:0", "unix:/tmp/x"));
  EXPECT_EQ(line->server.threads, 3);
  EXPECT_EQ(line->server.limits.max_unary_bytes, 1 << 20);
  EXPECT_EQ(line->server.limits.max_block_bytes, 2000000);
  EXPECT_EQ(line->server.limits.max_side_bytes, int64_t{3} << 30);
  EXPECT_EQ(line->server.limits.max_tensor_bytes, 4096);
  EXPECT_EQ(line->server.auth_token_file, "/etc/tokens");
  EXPECT_TRUE(line->server.insecure_listen);
  EXPECT_EQ(line->server.health_listen, "127.0.0.1:0");
  EXPECT_EQ(line->server.tls.certificate, "a.pem");
  EXPECT_EQ(line->server.tls.key, "b.pem");
  EXPECT_EQ(line->server.tls.client_ca, "c.pem");
  EXPECT_TRUE(line->server.reflection);
  const ConnectionOptions& connections = line->server.connections;
  EXPECT_EQ(connections.max_connections, 17);
  EXPECT_EQ(connections.max_streams, 18);
  EXPECT_EQ(connections.handshake_timeout, absl::Milliseconds(250));
  EXPECT_EQ(connections.keepalive_time, absl::Seconds(19));
  EXPECT_EQ(connections.keepalive_timeout, absl::Seconds(20));
  EXPECT_EQ(connections.max_idle, absl::Seconds(21));
  EXPECT_EQ(connections.max_age, absl::InfiniteDuration());
  EXPECT_EQ(connections.max_age_grace, absl::Seconds(22));
  EXPECT_EQ(line->drain_timeout, absl::Seconds(1.5));
}

TEST(Settings, AreOneLineWhateverTheyAre) {
  EXPECT_EQ(OneLine({{"a", "1"}, {"b", "two words"}, {"c", ""}, {"d", "x\ny\"z"}}),
            "a=1 b=\"two words\" c=\"\" d=\"x\\ny\\\"z\"");
  EXPECT_EQ(SizeText(64 << 20), "64MiB");
  EXPECT_EQ(SizeText(1500), "1500");
}

TEST(CommandLine, HelpAndVersionArePrinted) {
  for (const char* flag : {"--listen",
                           "--threads",
                           "--max-unary-bytes",
                           "--max-block-bytes",
                           "--max-side-bytes",
                           "--max-tensor-bytes",
                           "--auth-token-file",
                           "--drain-timeout",
                           "--insecure-listen",
                           "--health-listen",
                           "--tls-cert",
                           "--tls-key",
                           "--tls-client-ca",
                           "--reflection",
                           "--max-connections",
                           "--max-streams",
                           "--handshake-timeout",
                           "--keepalive-time",
                           "--keepalive-timeout",
                           "--connection-idle",
                           "--connection-age",
                           "--connection-age-grace"}) {
    EXPECT_THAT(Parse({"--help"})->print, HasSubstr(flag));
  }
  EXPECT_THAT(Parse({"--version"})->print, ::testing::MatchesRegex("lossd [0-9.]+\n"));
}

TEST(CommandLine, BadFlagsAreNamedInOneLine) {
  struct Row {
    const char* flag;
    const char* words;
  };
  for (const Row& row : {Row{"--frobnicate=1", "--frobnicate"},
                         {"stray", "stray"},
                         {"--threads=-1", "--threads"},
                         {"--threads=many", "--threads"},
                         {"--max-unary-bytes=10parsec", "--max-unary-bytes"},
                         {"--max-unary-bytes=1", "--max-unary-bytes"},
                         {"--max-block-bytes=3GiB", "--max-block-bytes"},
                         {"--max-side-bytes=-5", "--max-side-bytes"},
                         {"--max-tensor-bytes=", "--max-tensor-bytes"},
                         {"--drain-timeout=-1", "--drain-timeout"},
                         {"--handshake-timeout=0", "--handshake-timeout"},
                         {"--max-streams=0", "--max-streams"},
                         {"--health-listen=here", "--health-listen: here has no port"},
                         {"--listen=here", "--listen: here has no port"},
                         {"--listen=localhost:70000", "--listen"},
                         {"--listen=::1:50", "IPv6 address without brackets"}}) {
    SCOPED_TRACE(row.flag);
    const auto line = Parse({row.flag});
    ASSERT_EQ(line.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(line.status().message()), HasSubstr(row.words));
    EXPECT_THAT(std::string(line.status().message()), Not(HasSubstr("\n")));
  }
}

TEST(CommandLine, Log) {
  EXPECT_EQ(Parse({})->log.format, LogFormat::kText);
  EXPECT_EQ(Parse({})->log.level, LogLevel::kInfo);
  EXPECT_EQ(Parse({"--log-format=json"})->log.format, LogFormat::kJson);
  EXPECT_EQ(Parse({"--log-format=text"})->log.format, LogFormat::kText);
  EXPECT_EQ(Parse({"--log-level=debug"})->log.level, LogLevel::kDebug);
  EXPECT_EQ(Parse({"--log-level=error"})->log.level, LogLevel::kError);
  for (const char* bad : {"--log-format=xml", "--log-format=1", "--log-format=", "--log-level=loud",
                          "--log-level=2", "--log-level="}) {
    const auto line = Parse({bad});
    ASSERT_EQ(line.status().code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(line.status().message()),
                HasSubstr(std::string(bad).substr(0, std::string(bad).find('='))));
    EXPECT_THAT(std::string(line.status().message()), Not(HasSubstr("\n")));
  }
}

// ------------------------------------------------------------------------------- addresses

TEST(ListenAddress, Forms) {
  for (const char* good : {"127.0.0.1:0", "[::1]:65535", "localhost:80", "unix:/a", "unix:a"}) {
    EXPECT_TRUE(ListenAddress::Parse(good).ok()) << good;
  }
  for (const std::string& bad :
       {std::string(""), std::string("a"), std::string("a:"), std::string(":1"),
        std::string("[]:1"), std::string("a:-1"), std::string("a:1x"), std::string("a:65536"),
        std::string("unix:"), "unix:/" + std::string(200, 'x'), std::string("unix:@a"),
        std::string("unix-abstract:a"), std::string("http://a:1")}) {
    EXPECT_EQ(ListenAddress::Parse(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  for (const char* abstract : {"unix:@a", "unix-abstract:a"}) {
    EXPECT_THAT(std::string(ListenAddress::Parse(abstract).status().message()),
                HasSubstr("is an abstract socket"));
  }
  EXPECT_EQ(ListenAddress::Parse("[::1]:0")->WithPort(7), "[::1]:7");
  EXPECT_EQ(ListenAddress::Parse("unix:/a")->WithPort(1), "unix:/a");
}

class UnixSocketFile : public ::testing::Test {
 protected:
  UnixSocketFile() {
    char name[] = "/tmp/lossd_listen_XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/socket";
  }
  ~UnixSocketFile() override { std::filesystem::remove_all(directory_); }

  absl::Status Check() { return ListenAddress::Parse("unix:" + path_)->Listen().status(); }

  // A socket bound to the path; -1 unless that works.
  int Bind() {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path_.copy(name.sun_path, sizeof(name.sun_path) - 1);
    return bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0 ? fd : -1;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(UnixSocketFile, NoneIsFree) { EXPECT_TRUE(Check().ok()); }

TEST_F(UnixSocketFile, OfADeadServerIsFree) {
  const int fd = Bind();
  ASSERT_GE(fd, 0);
  ASSERT_EQ(listen(fd, 1), 0);
  EXPECT_THAT(std::string(Check().message()), HasSubstr("another server listens on it"));
  close(fd);
  EXPECT_TRUE(std::filesystem::exists(path_));
  EXPECT_TRUE(Check().ok()) << Check();
}

TEST_F(UnixSocketFile, AnyOtherFileIsKept) {
  std::ofstream(path_) << "precious";
  EXPECT_THAT(std::string(Check().message()), HasSubstr("not a socket"));
  EXPECT_TRUE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace lossd
