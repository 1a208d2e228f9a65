#include "server/log/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpc/support/log.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/types/printable.h"
#include "server/log/grpc_log.h"
#include "server/log/line_limiter.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// ------------------------------------------------------------------------------------- Printable

TEST(Printable, Table) {
  struct Row {
    std::string text;
    std::string printable;
  };
  for (const Row& row : {
           Row{"", ""},
           {"plain text, 100%", "plain text, 100%"},
           {"a\nb\r\tc", "a\\x0ab\\x0d\\x09c"},
           {std::string("nul\0end", 7), "nul\\x00end"},
           {"\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"},
           {"del\x7f", "del\\x7f"},
           {"caf\xc3\xa9", "caf\\xc3\\xa9"},
           {"\xff\xfe", "\\xff\\xfe"},
           {"\x9b"
            "31m",
            "\\x9b31m"},                         // the one-byte form of ESC [
           {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},  // a line separator
           {"back\\slash", "back\\\\slash"},
           {"\\x0a", "\\\\x0a"},  // not to be taken for an escaped newline
           {"\"quoted\"", "\"quoted\""},
       }) {
    EXPECT_EQ(Printable(row.text), row.printable);
  }
}

TEST(Printable, CutsAt200BytesAndKeepsEscapesWhole) {
  EXPECT_EQ(Printable(std::string(200, 'a')), std::string(200, 'a'));
  EXPECT_EQ(Printable(std::string(201, 'a')), std::string(197, 'a') + "...");
  EXPECT_EQ(Printable(std::string(1 << 20, 'a')), std::string(197, 'a') + "...");
  for (int before = 190; before <= 200; ++before) {
    const std::string text = Printable(std::string(before, 'a') + "\n\n\n");
    EXPECT_LE(text.size(), 200);
    if (const size_t escape = text.rfind('\\'); escape != std::string::npos) {
      EXPECT_EQ(text.substr(escape, 4), "\\x0a") << before;
    }
  }
  EXPECT_EQ(Printable(std::string(51, '\n')).size(), 199);  // 49 escapes and the dots
}

TEST(Printable, EveryByteIsVisibleAndUnlikeAnyOther) {
  std::vector<std::string> all;
  for (int byte = 0; byte < 256; ++byte) {
    all.push_back(Printable(std::string(1, static_cast<char>(byte))));
    for (const char c : all.back()) EXPECT_TRUE(c >= ' ' && c <= '~') << byte;
    EXPECT_EQ(nlohmann::json::parse(JsonValue(all.back())), all.back());
  }
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::unique(all.begin(), all.end()), all.end());
}

TEST(TextValue, IsQuotedWhereItWouldBeTakenForMore) {
  EXPECT_EQ(TextValue("word"), "word");
  EXPECT_EQ(TextValue(""), "\"\"");
  EXPECT_EQ(TextValue("two words"), "\"two words\"");
  EXPECT_EQ(TextValue("code=OK"), "\"code=OK\"");
  EXPECT_EQ(TextValue("a\"b"), "\"a\\\"b\"");
}

// ----------------------------------------------------------------------------------- LineLimiter

TEST(LineLimiter, LetsSoManyThroughEachSecondAndCountsTheRest) {
  const absl::Time start = absl::UnixEpoch();
  LineLimiter limiter(3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limiter.Admit(start + absl::Milliseconds(i)), 0);
  for (int i = 3; i < 10; ++i)
    EXPECT_EQ(limiter.Admit(start + absl::Milliseconds(i)), std::nullopt);
  EXPECT_EQ(limiter.Admit(start + absl::Milliseconds(999)), std::nullopt);
  EXPECT_EQ(limiter.Admit(start + absl::Milliseconds(1000)), 8);
  EXPECT_EQ(limiter.Admit(start + absl::Milliseconds(1001)), 0);
  EXPECT_EQ(limiter.TakeSuppressed(), 0);
}

TEST(LineLimiter, AClockSetBackDoesNotSilenceIt) {
  LineLimiter limiter(1);
  EXPECT_EQ(limiter.Admit(absl::UnixEpoch() + absl::Hours(1)), 0);
  EXPECT_EQ(limiter.Admit(absl::UnixEpoch()), 0);
  EXPECT_EQ(limiter.Admit(absl::UnixEpoch()), std::nullopt);
}

// ------------------------------------------------------------------------------------------- Log

// A log in memory, with a clock that stands.
class LogTest : public ::testing::Test {
 protected:
  ~LogTest() override {
    log_.reset();
    if (out_ >= 0) close(out_);
  }
  Log& Open(LogFormat format, LogLevel level = LogLevel::kInfo) {
    out_ = memfd_create("log", MFD_CLOEXEC);
    log_ = std::make_unique<Log>(
        LogOptions{.format = format, .level = level, .out = out_, .now = [this] { return now_; }});
    return *log_;
  }
  // What it wrote to its end.
  std::vector<std::string> Close() {
    log_.reset();
    std::string text(lseek(out_, 0, SEEK_END), '\0');
    EXPECT_EQ(pread(out_, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    std::vector<std::string> lines = absl::StrSplit(text, '\n');
    EXPECT_EQ(lines.back(), "");
    lines.pop_back();
    return lines;
  }

  absl::Time now_ = absl::FromUnixMicros(1'700'000'000'123'456);
  std::unique_ptr<Log> log_;
  int out_ = -1;
};

TEST_F(LogTest, TextIsOneLineOfKeysAndValues) {
  Open(LogFormat::kText)
      .Write(LogLevel::kWarning, LogEvent::kCall,
             {{"request_id", "a\nb"}, {"duration_us", 17}, {"message", "two words"}});
  EXPECT_THAT(Close(), ElementsAre("2023-11-14T22:13:20.123456Z warning call request_id=a\\x0ab "
                                   "duration_us=17 message=\"two words\""));
}

TEST_F(LogTest, JsonIsOneObjectALine) {
  const std::string hostile = "\",\"level\":\"x\n\x1b[2J\\ {}%v%";
  Open(LogFormat::kJson)
      .Write(LogLevel::kError, LogEvent::kGrpc, {{"message", hostile}, {"bytes", INT64_MIN}});
  const std::vector<std::string> lines = Close();
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_EQ(nlohmann::json::parse(lines[0]),
            nlohmann::json({{"time", "2023-11-14T22:13:20.123456Z"},
                            {"level", "error"},
                            {"event", "grpc"},
                            {"message", Printable(hostile)},
                            {"bytes", INT64_MIN}}));
}

TEST_F(LogTest, EveryEventAndLevelHasAName) {
  Log& log = Open(LogFormat::kJson, LogLevel::kDebug);
  for (int level = 0; level < kLogLevels; ++level) {
    for (int event = 0; event < kLogEvents; ++event) {
      log.Write(static_cast<LogLevel>(level), static_cast<LogEvent>(event), {});
    }
  }
  std::vector<std::string> names;
  for (const std::string& line : Close()) {
    const nlohmann::json parsed = nlohmann::json::parse(line);
    names.push_back(parsed.at("level").get<std::string>() + parsed.at("event").get<std::string>());
    EXPECT_FALSE(parsed.at("event").get<std::string>().empty());
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
  EXPECT_THAT(names, SizeIs(kLogLevels * kLogEvents));
}

TEST_F(LogTest, LevelsBelowTheChosenOneAreNotWritten) {
  Log& log = Open(LogFormat::kText, LogLevel::kWarning);
  EXPECT_FALSE(log.Writes(LogLevel::kInfo));
  EXPECT_TRUE(log.Writes(LogLevel::kWarning));
  log.Write(LogLevel::kDebug, LogEvent::kStart, {});
  log.Write(LogLevel::kInfo, LogEvent::kStart, {});
  EXPECT_THAT(Close(), IsEmpty());
}

TEST_F(LogTest, AFloodIsCountedAndOtherEventsAndLevelsStillHeard) {
  Log& log = Open(LogFormat::kJson);
  for (int i = 0; i < 1000; ++i) log.Write(LogLevel::kWarning, LogEvent::kCall, {{"i", i}});
  log.Write(LogLevel::kError, LogEvent::kCall, {});
  log.Write(LogLevel::kWarning, LogEvent::kGrpc, {});
  now_ += absl::Seconds(1);
  log.Write(LogLevel::kWarning, LogEvent::kCall, {{"i", 1000}});
  const std::vector<std::string> lines = Close();
  ASSERT_THAT(lines, SizeIs(kLogLinesPerSecond + 3));
  EXPECT_EQ(nlohmann::json::parse(lines[kLogLinesPerSecond - 1]).at("i"), kLogLinesPerSecond - 1);
  const nlohmann::json last = nlohmann::json::parse(lines.back());
  EXPECT_EQ(last.at("i"), 1000);
  EXPECT_EQ(last.at("suppressed"), 1000 - kLogLinesPerSecond);
}

TEST_F(LogTest, WhatIsStillSuppressedIsToldAtTheEnd) {
  Log& log = Open(LogFormat::kJson);
  for (int i = 0; i < kLogLinesPerSecond + 7; ++i) log.Write(LogLevel::kInfo, LogEvent::kCall, {});
  const std::vector<std::string> lines = Close();
  ASSERT_THAT(lines, SizeIs(kLogLinesPerSecond + 1));
  EXPECT_EQ(nlohmann::json::parse(lines.back()).at("suppressed"), 7);
}

TEST_F(LogTest, LinesOfManyThreadsAreWhole) {
  Log& log = Open(LogFormat::kJson, LogLevel::kDebug);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&log, t] {
      const auto event = static_cast<LogEvent>(t);
      for (int i = 0; i < 50; ++i) log.Write(LogLevel::kInfo, event, {{"i", i}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<std::string> lines = Close();
  EXPECT_THAT(lines, SizeIs(200));
  for (const std::string& line : lines) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
}

// A disk that is full, and then another.
TEST(LineWriter, LinesThatCannotBeWrittenAreCounted) {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  const int file = memfd_create("lines", MFD_CLOEXEC);
  ASSERT_GE(full, 0);
  std::promise<void> two_are_lost;
  {
    LineWriter lines(full, "%l %v", [&](int64_t lost) {
      if (lost == 2) two_are_lost.set_value();  // and the third is on its way
      return absl::StrCat("lost ", lost);
    });
    for (const char* const text : {"one", "two", "three"}) {
      lines.Write(absl::UnixEpoch(), LogLevel::kInfo, text);
    }
    two_are_lost.get_future().wait();
    lines.Redirect(dup(file));
    lines.Write(absl::UnixEpoch(), LogLevel::kInfo, "four");
  }
  char text[100];
  EXPECT_EQ(std::string(text, pread(file, text, sizeof text, 0)), "warning lost 3\ninfo four\n");
  close(file);
  close(full);
}

// Nobody reads: more lines than the pipe and the queue hold. Who writes goes on, and so does the
// end of the process.
TEST(StuckLog, HoldsNobodyUp) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  absl::Time now = absl::UnixEpoch();
  {
    Log log({.out = ends[1], .now = [&now] { return now; }});
    const std::string text(200, 'x');
    for (int i = 0; i < 5000; ++i) {
      now += absl::Seconds(1);
      log.Write(LogLevel::kInfo, LogEvent::kCall, {{"text", text}});
    }
  }
  // Now its thread may end, before what it uses goes.
  char buffer[4096];
  std::string read_so_far;
  while (read_so_far.find("dropped=") == std::string::npos) {
    pollfd readable{ends[0], POLLIN, 0};
    ASSERT_EQ(poll(&readable, 1, 30'000), 1) << "nothing says that lines were dropped";
    const ssize_t got = read(ends[0], buffer, sizeof buffer);
    ASSERT_GT(got, 0);
    read_so_far.append(buffer, got);
  }
}

// ---------------------------------------------------------------------------------- gRPC's log

TEST(WithoutSecrets, Table) {
  struct Row {
    const char* message;
    const char* kept;
  };
  for (const Row& row : {
           Row{"Keepalive watchdog fired", "Keepalive watchdog fired"},
           {"peer ipv4:127.0.0.1:4711: closed", "peer (withheld) closed"},
           {"peer ipv6:%5B::1%5D:4711, closed", "peer (withheld), closed"},
           {"from 10.1.2.3:99", "from (withheld)"},
           {"from [fe80::1]:99", "from (withheld)"},
           {"from fe80::1%eth0", "from (withheld)"},
           {"peer=unix:/run/x.sock", "peer=(withheld)"},
           {"\"target_address\":\"1.2.3.4:5\"", "\"target_address\":\"(withheld)\""},
           {"version 1.51.1 at 12:30", "version 1.51.1 at 12:30"},
           {"error=invalid key=grpc-timeout value=s3cret more",
            "error=invalid key=grpc-timeout value=(withheld)"},
           {"HTTP:1:HDR: Authorization: Bearer s3cret", "(withheld)"},
       }) {
    EXPECT_EQ(WithoutSecrets(row.message), row.kept);
  }
  EXPECT_LE(WithoutSecrets(std::string(1 << 20, 'x')).size(), 1000);
}

TEST_F(LogTest, GrpcSpeaksThroughIt) {
  Log& log = Open(LogFormat::kJson);
  {
    const GrpcLogRoute route(&log);
    gpr_log(GPR_ERROR, "%s", "odd\nthing from ipv4:1.2.3.4:5");
    gpr_log(GPR_INFO, "not at this level");
  }
  gpr_log(GPR_ERROR, "nobody listens");
  const std::vector<std::string> lines = Close();
  ASSERT_THAT(lines, SizeIs(1));
  const nlohmann::json line = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(line.at("level"), "warning");
  EXPECT_EQ(line.at("event"), "grpc");
  EXPECT_EQ(line.at("message"), "odd\\x0athing from (withheld)");
  EXPECT_THAT(line.at("source").get<std::string>(), HasSubstr("log_test.cc:"));
  EXPECT_THAT(line.at("source").get<std::string>(), Not(HasSubstr("/")));
}

TEST_F(LogTest, GrpcErrorsAreRateLimited) {
  Log& log = Open(LogFormat::kJson, LogLevel::kDebug);
  {
    const GrpcLogRoute route(&log);
    for (int i = 0; i < 1000; ++i) gpr_log(GPR_ERROR, "again");
    gpr_log(GPR_INFO, "something else");
  }
  EXPECT_THAT(Close(), SizeIs(kLogLinesPerSecond + 2));
}

}  // namespace
}  // namespace lossd
