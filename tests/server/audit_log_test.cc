#include "server/log/audit_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/types/printable.h"
#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// An audit log in a file, with a clock that stands.
class Audit : public ::testing::Test {
 protected:
  AuditLog& Open() {
    absl::StatusOr<std::unique_ptr<AuditLog>> opened =
        AuditLog::Open(path_, [this] { return now_; });
    EXPECT_TRUE(opened.ok()) << opened.status();
    log_ = *std::move(opened);
    return *log_;
  }
  // What was written to the end of the log.
  std::vector<nlohmann::json> Close() {
    log_.reset();
    return LinesOf(path_);
  }
  static std::vector<nlohmann::json> LinesOf(const std::string& path) {
    std::vector<nlohmann::json> lines;
    for (const absl::string_view line : absl::StrSplit(ReadWhole(path), '\n', absl::SkipEmpty())) {
      lines.push_back(
          nlohmann::json::parse(std::string(line), nullptr, /*allow_exceptions=*/false));
      EXPECT_TRUE(lines.back().is_object()) << line;
    }
    return lines;
  }

  absl::Time now_ = absl::FromUnixMicros(1'700'000'000'123'456);
  const TempDir scratch_;
  const std::string path_ = scratch_.Path("audit.log");
  std::unique_ptr<AuditLog> log_;
};

TEST_F(Audit, ACallIsOneObject) {
  const std::string hostile = "\",\"code\":\"x\n\x1b[2J\\{}%v";
  Open().Write({.identity = hostile,
                .peer = "ipv4:192.0.2.1:4711",
                .method = "Compute",
                .loss = "softmax",
                .code = "OK",
                .bytes_in = 17,
                .bytes_out = INT64_MAX,
                .duration_us = 41,
                .request_id = "step-17/rank-3"});
  const std::vector<nlohmann::json> lines = Close();
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_EQ(lines[0], nlohmann::json({{"time", "2023-11-14T22:13:20.123456Z"},
                                      {"identity", Printable(hostile)},
                                      {"peer", "ipv4:192.0.2.1:4711"},
                                      {"method", "Compute"},
                                      {"loss", "softmax"},
                                      {"code", "OK"},
                                      {"reason", ""},
                                      {"bytes_in", 17},
                                      {"bytes_out", INT64_MAX},
                                      {"duration_us", 41},
                                      {"request_id", "step-17/rank-3"}}));
}

TEST_F(Audit, OthersCannotReadTheFileAndLinesAreAppended) {
  Open().Write({.code = "OK"});
  Close();
  struct stat about {};
  ASSERT_EQ(stat(path_.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0007, 0);
  Open().Write({.code = "OK"});
  EXPECT_THAT(Close(), SizeIs(2));
}

TEST_F(Audit, RefusedCallsAreLimitedAndCountedAndHideNobody) {
  AuditLog& log = Open();
  constexpr int kFlood = 10 * kRefusedAuditLinesPerSecond;
  for (int i = 0; i < kFlood; ++i) log.Write({.code = "UNAUTHENTICATED"});
  for (int i = 0; i < 3; ++i) log.Write({.identity = "a", .code = "INVALID_ARGUMENT"});
  for (int i = 0; i < 200; ++i) log.Write({.code = "OK"});
  now_ += absl::Seconds(1);
  log.Write({.code = "UNAUTHENTICATED"});
  const std::vector<nlohmann::json> lines = Close();
  ASSERT_THAT(lines, SizeIs(kRefusedAuditLinesPerSecond + 3 + 200 + 1));
  EXPECT_EQ(lines.back().at("suppressed"), kFlood - kRefusedAuditLinesPerSecond);
}

TEST_F(Audit, ReopenGoesOnInANewFile) {
  AuditLog& log = Open();
  log.Write({.code = "OK", .request_id = "old"});
  std::filesystem::rename(path_, path_ + ".1");
  EXPECT_TRUE(log.Reopen().ok());
  EXPECT_TRUE(std::filesystem::exists(path_));  // before anything is written
  log.Write({.code = "OK", .request_id = "new"});
  const std::vector<nlohmann::json> lines = Close();
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines.back().at("request_id"), "new");
  // A line that was on its way comes with the old file or with the new one.
  EXPECT_EQ(lines.size() + LinesOf(path_ + ".1").size(), 2);
}

TEST_F(Audit, StaysWhereItIsIfItCannotReopen) {
  AuditLog& log = Open();
  std::filesystem::rename(path_, path_ + ".1");
  std::filesystem::create_directory(path_);
  EXPECT_THAT(std::string(log.Reopen().message()), HasSubstr("Is a directory"));
  log.Write({.code = "OK"});
  log_.reset();
  EXPECT_THAT(LinesOf(path_ + ".1"), SizeIs(1));
  std::filesystem::remove(path_);
}

TEST_F(Audit, AFileThatCannotBeWrittenIsNamed) {
  const auto why = [](const std::string& path) {
    return std::string(AuditLog::Open(path).status().message());
  };
  EXPECT_EQ(why("/nowhere/audit"), "--audit-log /nowhere/audit: No such file or directory");
  EXPECT_EQ(why("/tmp"), "--audit-log /tmp: Is a directory");
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(why(path_), absl::StrCat("--audit-log ", path_, ": No such device or address"));
}

// The reader of a pipe does not read. Whoever calls goes on; what was lost is counted.
TEST_F(Audit, AReaderThatStallsHoldsNobodyUp) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  const int reader = open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  AuditLog& log = Open();
  constexpr int64_t kCalls = 10'000;
  for (int64_t i = 0; i < kCalls; ++i) log.Write({.code = "OK"});
  log_.reset();  // gives up waiting
  std::string text;
  char buffer[4096];
  while (true) {
    pollfd readable{reader, POLLIN, 0};
    ASSERT_EQ(poll(&readable, 1, 30'000), 1);
    const ssize_t got = read(reader, buffer, sizeof buffer);
    if (got <= 0) break;  // the writing thread has closed it
    text.append(buffer, got);
  }
  close(reader);
  int64_t lines = 0;
  int64_t dropped = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const nlohmann::json parsed = nlohmann::json::parse(std::string(line));
    dropped += parsed.value("dropped", int64_t{0});
    lines += parsed.contains("code") ? 1 : 0;
  }
  EXPECT_GT(dropped, 0);
  EXPECT_EQ(lines + dropped, kCalls);
}

}  // namespace
}  // namespace lossd
