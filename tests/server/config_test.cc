#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/types/printable.h"
#include "server/command_line.h"
#include "server/config/variables.h"
#include "tests/support/temp_dir.h"

// Settings by flag, environment and file.
namespace lossd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Config : public ::testing::Test {
 protected:
  absl::StatusOr<CommandLine> Parse(std::vector<std::string> flags,
                                    const std::vector<std::string>& variables = {}) {
    std::vector<const char*> argv = {"lossd"};
    for (const std::string& flag : flags) argv.push_back(flag.c_str());
    return ParseCommandLine(static_cast<int>(argv.size()), argv.data(), variables);
  }

  // With the file alone.
  absl::StatusOr<CommandLine> ParseFile(const std::string& text) {
    return Parse({"--config=" + scratch_.Write("lossd.conf", text)});
  }

  // What --print-config prints then.
  std::string Printed(std::vector<std::string> flags,
                      const std::vector<std::string>& variables = {}) {
    flags.emplace_back("--print-config");
    const auto line = Parse(std::move(flags), variables);
    EXPECT_TRUE(line.ok()) << line.status();
    return line.ok() ? line->print : "";
  }

  void ExpectBad(const absl::StatusOr<CommandLine>& line, const std::string& words) {
    ASSERT_EQ(line.status().code(), absl::StatusCode::kInvalidArgument) << words;
    const std::string message(line.status().message());
    EXPECT_THAT(message, AllOf(HasSubstr(words), Not(HasSubstr("\n"))));
  }

  const TempDir scratch_;
};

// Lines of a text without those that begin with #.
std::string WithoutComments(const std::string& text) {
  return std::regex_replace(text, std::regex("(^|\n)(#[^\n]*\n|\n)+"), "\n");
}

// Every setting with a value that is not its default, as the file has it.
const std::map<std::string, std::vector<std::string>> kEverySetting = {
    {"listen", {"[::1]:0", "unix:/tmp/x"}},
    {"insecure-listen", {"true"}},
    {"health-listen", {"127.0.0.1:1"}},
    {"metrics-listen", {"127.0.0.1:2"}},
    {"shared-memory", {"unix:/tmp/memory"}},
    {"tls-cert", {"a b.pem"}},
    {"tls-key", {"b=c.pem"}},
    {"tls-client-ca", {"#c.pem"}},
    {"auth-token-file", {"/etc/tokens"}},
    {"trusted-proxies", {"10.0.0.0/8,unix"}},
    {"reflection", {"true"}},
    {"sandbox", {"false"}},
    {"max-connections", {"17"}},
    {"max-streams", {"18"}},
    {"handshake-timeout", {"250ms"}},
    {"keepalive-time", {"19s"}},
    {"keepalive-timeout", {"1m20s"}},
    {"connection-idle", {"0"}},
    {"connection-age", {"22s"}},
    {"connection-age-grace", {"2h"}},
    {"threads", {"3"}},
    {"max-unary-bytes", {"1MiB"}},
    {"max-block-bytes", {"2000000"}},
    {"max-side-bytes", {"3GiB"}},
    {"max-tensor-bytes", {"4KiB"}},
    {"memory-budget", {"5TiB"}},
    {"max-call-duration", {"1.5s"}},
    {"drain-timeout", {"0"}},
    {"log-format", {"json"}},
    {"log-level", {"debug"}},
    {"audit-log", {"-"}},
};

std::string FileOf(const std::map<std::string, std::vector<std::string>>& settings) {
  std::string text;
  for (const auto& [name, values] : settings) {
    for (const std::string& value : values) absl::StrAppend(&text, name, " = ", value, "\n");
  }
  return text;
}

// ---------------------------------------------------------------------------------- precedence

TEST_F(Config, FlagBeforeEnvironmentBeforeFile) {
  const std::string config =
      "--config=" + scratch_.Write("c", "threads=1\nmax-streams=1\nmax-connections=1\n");
  const auto line = Parse({config, "--threads=3"}, {"LOSSD_THREADS=2", "LOSSD_MAX_STREAMS=2"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->server.threads, 3);
  EXPECT_EQ(line->server.connections.max_streams, 2);
  EXPECT_EQ(line->server.connections.max_connections, 1);
}

// A list is replaced, not added to.
TEST_F(Config, ListsOfDifferentSourcesAreNotMixed) {
  const std::string config = "--config=" + scratch_.Write("c", "listen=a:1\nlisten=a:2\n");
  EXPECT_THAT(Parse({config})->server.listen, ElementsAre("a:1", "a:2"));
  EXPECT_THAT(Parse({config}, {"LOSSD_LISTEN=b:1,b:2"})->server.listen, ElementsAre("b:1", "b:2"));
  EXPECT_THAT(Parse({config, "--listen=c:1"}, {"LOSSD_LISTEN=b:1"})->server.listen,
              ElementsAre("c:1"));
}

TEST_F(Config, TheEnvironmentMayNameTheFile) {
  const std::string path = scratch_.Write("c", "threads = 7\n");
  EXPECT_EQ(Parse({}, {"LOSSD_CONFIG=" + path})->server.threads, 7);
  EXPECT_EQ(Parse({"--config=" + path}, {"LOSSD_CONFIG=/nowhere"})->server.threads, 7);
  ExpectBad(Parse({}, {"LOSSD_CONFIG=/nowhere"}), "LOSSD_CONFIG /nowhere: No such file");
  ExpectBad(Parse({"--config=/nowhere"}), "--config /nowhere: No such file");
}

TEST_F(Config, ASwitchCanBeTakenBack) {
  const std::string config = "--config=" + scratch_.Write("c", "reflection = true\n");
  EXPECT_TRUE(Parse({config})->server.reflection);
  EXPECT_FALSE(Parse({config}, {"LOSSD_REFLECTION=false"})->server.reflection);
  EXPECT_FALSE(Parse({config, "--reflection=false"})->server.reflection);
  EXPECT_TRUE(Parse({config, "--reflection"}, {"LOSSD_REFLECTION=false"})->server.reflection);
}

// --------------------------------------------------------------------------------- round trips

TEST_F(Config, WhatIsPrintedReadsTheSame) {
  const std::string path = scratch_.Write("given", FileOf(kEverySetting));
  const std::string once = Printed({"--config=" + path});
  const std::string twice = Printed({"--config=" + scratch_.Write("once", once)});
  EXPECT_EQ(WithoutComments(twice), WithoutComments(once));
  for (const auto& [name, values] : kEverySetting) {
    for (const std::string& value : values) {
      EXPECT_THAT(once, HasSubstr(absl::StrCat("\n", name, " = ", value, "\n")));
    }
  }
  const std::string defaults = Printed({});
  EXPECT_EQ(WithoutComments(Printed({"--config=" + scratch_.Write("defaults", defaults)})),
            WithoutComments(defaults));
  EXPECT_NE(WithoutComments(defaults), WithoutComments(once));
}

TEST_F(Config, EverySourceKnowsEverySetting) {
  const std::string of_file = Printed({"--config=" + scratch_.Write("c", FileOf(kEverySetting))});
  std::vector<std::string> variables;
  std::vector<std::string> flags;
  for (const auto& [name, values] : kEverySetting) {
    variables.push_back(VariableOf(name) + "=" + absl::StrJoin(values, ","));
    for (const std::string& value : values) flags.push_back(absl::StrCat("--", name, "=", value));
  }
  EXPECT_EQ(WithoutComments(Printed({}, variables)), WithoutComments(of_file));
  EXPECT_EQ(WithoutComments(Printed(flags)), WithoutComments(of_file));
  // None is missing above.
  const std::string defaults = Printed({});
  const std::regex setting("(?:^|\n)(?:# )?([a-z-]+) =");
  for (std::sregex_iterator it(defaults.begin(), defaults.end(), setting), end; it != end; ++it) {
    EXPECT_TRUE(kEverySetting.contains((*it)[1])) << (*it)[1];
  }
}

TEST_F(Config, ThePrintSaysWhoGaveWhat) {
  const std::string path = scratch_.Write("c", "\n\nthreads = 2\n");
  const std::string text = Printed({"--config=" + path, "--max-streams=3"}, {"LOSSD_REFLECTION=1"});
  EXPECT_THAT(text, HasSubstr("# given as " + path + ":3: threads\nthreads = 2\n"));
  EXPECT_THAT(text, HasSubstr("# given as --max-streams\nmax-streams = 3\n"));
  EXPECT_THAT(text, HasSubstr("# given as LOSSD_REFLECTION\nreflection = true\n"));
}

// Files are named, not shown.
TEST_F(Config, ThePrintHasNoSecrets) {
  const std::string tokens = scratch_.Write("tokens", "hush-hush\n");
  EXPECT_THAT(Printed({"--auth-token-file=" + tokens}),
              AllOf(HasSubstr("auth-token-file = " + tokens), Not(HasSubstr("hush"))));
}

// The tables of docs/operations.md: every setting with its default.
TEST_F(Config, TheManualListsThemAll) {
  const std::string manual = ReadWhole(SOURCE_DIR "/docs/operations.md");
  const size_t begin = manual.find("## Configuration");
  ASSERT_NE(begin, std::string::npos);
  const std::string section = manual.substr(begin, manual.find("\n## ", begin + 1) - begin);
  std::map<std::string, std::string> told;
  const std::regex row("\n\\| `([a-z-]+)` \\| (?:`([^`|]*)`)? ?\\|");
  for (std::sregex_iterator it(section.begin(), section.end(), row), end; it != end; ++it) {
    told[(*it)[1]] = (*it)[2];
  }
  std::map<std::string, std::string> known;
  const std::string defaults = Printed({});
  const std::regex setting("\n(?:# )?([a-z-]+) = ?([^\n]*)");
  for (std::sregex_iterator it(defaults.begin(), defaults.end(), setting), end; it != end; ++it) {
    known[(*it)[1]] = (*it)[2];
  }
  EXPECT_EQ(told, known);
}

// ------------------------------------------------------------------------------------- the file

TEST_F(Config, FormOfTheFile) {
  const auto line = ParseFile(
      "# comment\r\n\n   \t\n  threads=4\r\nmax-unary-bytes =\t1 MiB  \n#threads = 5\n"
      "tls-cert = a=b # c\nlisten = a:1\nmax-streams = 6\nlisten = a:2");
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->server.threads, 4);
  EXPECT_EQ(line->server.limits.max_unary_bytes, 1 << 20);
  EXPECT_EQ(line->server.tls.certificate, "a=b # c");
  EXPECT_THAT(line->server.listen, ElementsAre("a:1", "a:2"));
  EXPECT_TRUE(ParseFile("").ok());
}

TEST_F(Config, BadFilesAreNamedByLineAndKey) {
  struct Row {
    std::string text;
    const char* words;
  };
  for (const Row& row : {
           Row{"thread = 4", "lossd.conf:1: there is no setting thread; wanted perhaps threads"},
           {"\n\nmax_streams = 4", ":3: there is no setting max_streams; wanted perhaps max-stre"},
           {"--threads = 4", ":1: there is no setting --threads; wanted perhaps threads"},
           {"THREADS = 4", "there is no setting THREADS"},
           {"config = x", "there is no setting config"},
           {"print-config = true", "there is no setting print-config"},
           {"help = true", "there is no setting help"},
           {"= 4", "there is no setting ;"},
           {"threads = many", ":1: threads: many is no number in range; wanted 0..1024"},
           {"threads = -1", ":1: threads: -1 is no number in range; wanted 0..1024"},
           {"threads = 4 # four", ":1: threads: 4 # four is no number"},
           {"threads = 1\n#\nthreads = 1", ":3: threads was given already at "},
           {"threads =", ":1: threads has no value; wanted one, or no line"},
           {"threads", ":1: the line is threads; wanted KEY = VALUE"},
           {"[server]\nthreads = 1", ":1: the line is [server]; wanted KEY = VALUE"},
           {"tls-cert = \"a.pem\"", "tls-cert is \"a.pem\"; wanted no quotes"},
           {"tls-cert = 'a.pem'", "wanted no quotes"},
           {std::string("tls-cert = a\0b", 14), ":1: the line has control characters"},
           {"tls-cert = a\x1b[2Jb", ":1: the line has control characters"},
           {"t\xc3\xa4"
            "ds = 1",
            "there is no setting t\\xc3\\xa4ds"},
           {"listen = here", ":1: listen: here has no port"},
           {"listen = a:1\nlisten = here", "listen: here has no port"},
           {"reflection = maybe", "reflection: maybe is no switch; wanted true or false"},
           {"log-level = loud", "log-level: loud is no word for this; wanted one of debug, info"},
           {"max-unary-bytes = 10parsec",
            "max-unary-bytes: 10parsec is no size in range; wanted 4KiB..2147483647, in bytes or"},
           {"max-unary-bytes = MiB", "MiB is no size"},
           {"max-unary-bytes = -1MiB", "-1MiB is no size"},
           {"max-side-bytes = 99999999999GiB", "99999999999GiB is no size"},
           {"memory-budget = 0", "memory-budget: 0 is no size in range; wanted 1MiB or more"},
           {"keepalive-time = 5parsec",
            "keepalive-time: 5parsec is no duration in range; wanted "
            "1ms..24h, as 250ms, 1m30s or seconds"},
           {"keepalive-time = 0", "keepalive-time: 0 is no duration"},
           {"keepalive-time = nan", "nan is no duration"},
           {"keepalive-time = inf", "inf is no duration"},
           {"connection-age = -5m", "-5m is no duration in range; wanted 0 (never) or 1ms..24h"},
           {"drain-timeout = 25h", "25h is no duration in range; wanted 0..24h"},
       }) {
    SCOPED_TRACE(row.text);
    ExpectBad(ParseFile(row.text), row.words);
  }
  EXPECT_THAT(std::string(ParseFile("x = 1").status().message()),
              StartsWith(scratch_.Path("lossd.conf") + ":1: "));
  ExpectBad(Parse({"--config=" + scratch_.Path("")}), "not a regular file");
  ExpectBad(ParseFile(std::string((1 << 20) + 1, '#')), "larger than 1 MiB");
}

TEST_F(Config, AValueFitsALineWhoeverGivesIt) {
  struct Row {
    const char* value;
    const char* words;
  };
  for (const Row& row : {Row{"a\nreflection = true", "has control characters; wanted text"},
                         {"a\x1b[2J", "has control characters; wanted text"},
                         {"\"a.pem\"", "begins with a quote; wanted no quotes"},
                         {"'a.pem", "begins with a quote; wanted no quotes"},
                         {" a.pem", "has blanks at its ends; wanted none there"},
                         {"a.pem\t", "has blanks at its ends; wanted none there"}}) {
    SCOPED_TRACE(row.value);
    for (const char* name : {"tls-cert", "listen"}) {
      ExpectBad(Parse({absl::StrCat("--", name, "=", row.value)}),
                absl::StrCat("--", name, ": ", Printable(row.value), " ", row.words));
    }
    ExpectBad(Parse({}, {absl::StrCat("LOSSD_TLS_CERT=", row.value)}),
              absl::StrCat("LOSSD_TLS_CERT: ", Printable(row.value), " ", row.words));
    ExpectBad(Parse({absl::StrCat("--config=", row.value)}),
              absl::StrCat("--config: ", Printable(row.value), " ", row.words));
  }
}

TEST_F(Config, Durations) {
  for (const auto& [text, wanted] : {std::pair("30s", absl::Seconds(30)),
                                     {"30", absl::Seconds(30)},
                                     {"1.5", absl::Milliseconds(1500)},
                                     {"5m", absl::Minutes(5)},
                                     {"1h30m", absl::Minutes(90)},
                                     {"250ms", absl::Milliseconds(250)}}) {
    EXPECT_EQ(Parse({absl::StrCat("--keepalive-time=", text)})->server.connections.keepalive_time,
              wanted)
        << text;
  }
  EXPECT_EQ(Parse({"--max-call-duration=2m"})->server.times.call, std::chrono::minutes(2));
}

// ------------------------------------------------------------------------------ the environment

TEST_F(Config, BadVariablesAreNamed) {
  ExpectBad(Parse({}, {"LOSSD_THREADS=many"}), "LOSSD_THREADS: many is no number in range; wanted");
  ExpectBad(Parse({}, {"LOSSD_LISTEN=a:1,"}), "LOSSD_LISTEN:  has no port");
  ExpectBad(Parse({}, {"LOSSD_THRAEDS=2"}),
            "environment: LOSSD_THRAEDS is no setting; wanted perhaps LOSSD_THREADS");
  ExpectBad(Parse({}, {"LOSSD_threads=2"}), "LOSSD_threads is no setting");
  ExpectBad(Parse({}, {"LOSSD_MAX-STREAMS=2"}), "LOSSD_MAX-STREAMS is no setting");
  ExpectBad(Parse({}, {"LOSSD_PRINT_CONFIG=true"}), "LOSSD_PRINT_CONFIG is no setting");
  ExpectBad(Parse({}, {"LOSSD_PORT=50151"}), "LOSSD_PORT is no setting");
  ExpectBad(Parse({}, {"LOSSD_X\x1b=1"}), "LOSSD_X\\x1b is no setting");
}

TEST_F(Config, WhatIsEmptyOrOfOthersIsNotGiven) {
  const auto line = Parse(
      {}, {"LOSSD_THREADS=", "LOSSD_CONFIG=", "LOSSD=1", "LOSSDX=1", "lossd_threads=x", "PATH=/bin",
           "LOSSD_NOTHING", "LOSSD_SERVER=a:1", "LOSSD_FORCE_TARGET=AVX2", "LOSSD_TEST_SEED=1"});
  EXPECT_TRUE(line.ok()) << line.status();
}

// What Kubernetes makes for Services "lossd" and "lossd-headless" with named ports, in every pod.
TEST_F(Config, ServicesOfKubernetesAreNoSettings) {
  std::vector<std::string> variables;
  for (const char* service : {"LOSSD", "LOSSD_HEADLESS"}) {
    for (const char* rest :
         {"_SERVICE_HOST=10.0.0.11", "_SERVICE_PORT=50151", "_SERVICE_PORT_GRPC=50151",
          "_SERVICE_PORT_METRICS=50153", "_PORT=tcp://10.0.0.11:50151",
          "_PORT_50151_TCP=tcp://10.0.0.11:50151", "_PORT_50151_TCP_PROTO=tcp",
          "_PORT_50151_TCP_PORT=50151", "_PORT_50151_TCP_ADDR=10.0.0.11"}) {
      variables.push_back(absl::StrCat(service, rest));
    }
  }
  variables.emplace_back("LOSSD_THREADS=5");
  const auto line = Parse({}, variables);
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->server.threads, 5);
  // No setting may look like one of them.
  for (const auto& [name, values] : kEverySetting) {
    EXPECT_FALSE(IsServiceVariable(VariableOf(name), "tcp://10.0.0.11:1")) << name;
  }
  EXPECT_FALSE(IsServiceVariable("LOSSD_PORT_50151_TPC", ""));
  EXPECT_FALSE(IsServiceVariable("LOSSD_PORT_X_TCP", ""));
  EXPECT_FALSE(IsServiceVariable("LOSSD_SERVICE_HOSTS", ""));
  EXPECT_FALSE(IsServiceVariable("LOSSD_SERVICE_PORTS", ""));
}

// Help is for those who have a bad file, too.
TEST_F(Config, HelpAndVersionReadNothingElse) {
  for (const char* flag : {"--help", "--version"}) {
    const auto line = Parse({flag, "--config=/nowhere"}, {"LOSSD_NONSENSE=1"});
    ASSERT_TRUE(line.ok()) << line.status();
    EXPECT_THAT(line->print, StartsWith("lossd"));
  }
  const std::string help = Parse({"--help"})->print;
  for (const auto& [name, values] : kEverySetting) EXPECT_THAT(help, HasSubstr("--" + name));
  EXPECT_THAT(help, AllOf(HasSubstr("--config"), HasSubstr("--print-config"),
                          HasSubstr("LOSSD_MAX_STREAMS=7")));
}

}  // namespace
}  // namespace lossd
