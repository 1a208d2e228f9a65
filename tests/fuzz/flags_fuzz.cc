// What people type: the settings of lossd as arguments, variables and lines of a file, the flags of
// lossctl, addresses. An error is one line in the right words; what is accepted is in range, and
// the same when it is read back from what --print-config prints.
//   input: words, separated by NUL; the first byte of each says where it stands, the second of
//   which setting it is the value

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/lossctl/compute_flags.h"
#include "client/lossctl/flags.h"
#include "client/lossctl/units.h"
#include "server/command_line.h"
#include "server/config/variables.h"
#include "server/listen/listen_address.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/memory_file.h"

namespace lossd::fuzz {
namespace {

constexpr size_t kMaxArguments = 24;

void CheckError(const absl::Status& status) {
  if (status.ok()) return;
  Require(status.code() == absl::StatusCode::kInvalidArgument, status.ToString());
  Require(!status.message().empty(), "an error without words");
}

void CheckSize(int64_t value, const SizeRange& range) {
  Require(range.least <= value && value <= range.most, "a size out of range was accepted");
}

// Names of the settings and the other flags of lossd, as its help has them.
std::vector<std::string> NamesInHelp() {
  const char* const argv[] = {"lossd", "--help"};
  const absl::StatusOr<CommandLine> line = ParseCommandLine(2, argv);
  Require(line.ok(), "there is no help");
  std::vector<std::string> names;
  for (const absl::string_view word : absl::StrSplit(line->print, absl::ByAnyChar(" \n,:=()"))) {
    if (absl::StartsWith(word, "--") && word.size() > 2) names.emplace_back(word.substr(2));
  }
  Require(names.size() > 20, "the help names no flags");
  return names;
}

// Settings, and where they stand.
struct Settings {
  std::vector<std::string> arguments;
  std::vector<std::string> variables;
  std::string file;
};

// Beyond the last name, the word stands for itself.
void Put(const std::string& word, Settings& settings) {
  static const auto& names = *new std::vector<std::string>(NamesInHelp());
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(i < word.size() ? word[i] : 0); };
  const size_t which = byte(1) % (names.size() + 1);
  const std::string name = which < names.size() ? names[which] : "";
  const std::string value = word.substr(std::min<size_t>(word.size(), 2));
  switch (byte(0) % 3) {
    case 0:
      if (name.empty()) return settings.arguments.push_back(value);
      return settings.arguments.push_back(
          absl::StrCat("--", name, value.empty() ? "" : absl::StrCat("=", value)));
    case 1:
      return settings.variables.push_back(name.empty()
                                              ? absl::StrCat("LOSSD_", value)
                                              : absl::StrCat(VariableOf(name), "=", value));
    default:
      absl::StrAppend(&settings.file, name, name.empty() ? "" : " = ", value, "\n");
  }
}

absl::StatusOr<CommandLine> Parse(const Settings& settings, const char* last = nullptr) {
  const MemoryFile file(settings.file);
  const std::string config = absl::StrCat("--config=", file.path());
  std::vector<const char*> argv = {"lossd"};
  for (const std::string& argument : settings.arguments) argv.push_back(argument.c_str());
  if (!settings.file.empty()) argv.push_back(config.c_str());
  if (last != nullptr) argv.push_back(last);
  return ParseCommandLine(static_cast<int>(argv.size()), argv.data(), settings.variables);
}

// The settings of a printed file, without who gave them.
std::string WithoutComments(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  std::erase_if(lines, [](const std::string& line) { return absl::StartsWith(line, "#"); });
  return absl::StrJoin(lines, "\n");
}

void CheckReadBack(const Settings& settings) {
  const absl::StatusOr<CommandLine> printed = Parse(settings, "--print-config");
  if (!printed.ok()) return;  // --print-config was there already
  const auto again =
      Parse({.arguments = {}, .variables = {}, .file = printed->print}, "--print-config");
  Require(again.ok(), absl::StrCat("what was printed is not read: ", again.status().ToString()));
  Require(WithoutComments(again->print) == WithoutComments(printed->print),
          absl::StrCat("printed:\n", printed->print, "\nread back:\n", again->print));
}

void TrySettings(const std::vector<std::string>& words) {
  Settings settings;
  for (const std::string& word : words) Put(word, settings);
  const absl::StatusOr<CommandLine> line = Parse(settings);
  if (!line.ok()) {
    CheckError(line.status());
    Require(line.status().message().find('\n') == absl::string_view::npos,
            "an error of several lines");
    return;
  }
  const ServerOptions& server = line->server;
  Require(!server.listen.empty(), "a server that listens nowhere");
  for (const std::string& address : server.listen) {
    Require(ListenAddress::Parse(address).ok(), "an address that is none was accepted");
  }
  Require(server.threads >= 0 && line->drain_timeout >= absl::ZeroDuration(),
          "a negative number was accepted");
  CheckSize(server.limits.max_unary_bytes, kMessageBytes);
  CheckSize(server.limits.max_block_bytes, kMessageBytes);
  CheckSize(server.limits.max_side_bytes, kTensorBytes);
  CheckSize(server.limits.max_tensor_bytes, kTensorBytes);
  if (line->print.empty()) CheckReadBack(settings);
}

void TryLossctlFlags(const std::vector<std::string>& words) {
  lossctl::ComputeFlags flags;
  const auto table = lossctl::ComputeFlagTable();
  for (const std::string& word : words) {
    const size_t row = word.empty() ? 0 : static_cast<uint8_t>(word[0]) % (table.size() + 1);
    const std::string value = word.empty() ? "" : word.substr(1);
    if (row == table.size()) {
      flags.ignore_labels.push_back(value);
    } else {
      flags.*table[row].text = value;
    }
  }
  CheckError(lossctl::ReadSpec(flags).status());
  CheckError(lossctl::ReadCallOptions(flags).status());
  CheckError(lossctl::ReadTargetKind(flags).status());
}

void TryWord(const std::string& word) {
  CheckError(ListenAddress::Parse(word).status());
  CheckError(lossctl::ParseNumber("--flag", word).status());
  CheckError(lossctl::ParseInteger("--flag", word).status());
  const absl::StatusOr<absl::Duration> timeout = lossctl::ParseTimeout("--flag", word);
  CheckError(timeout.status());
  if (timeout.ok()) Require(*timeout > absl::ZeroDuration(), "a timeout that has passed");
  const std::string line = lossctl::OneLine(word);
  Require(std::none_of(line.begin(), line.end(),
                       [](char c) { return (0 <= c && c < ' ') || c == 0x7f; }),
          "OneLine let a control character through");
}

}  // namespace

void TestOne(Input input) {
  const std::string text = input.Rest();
  std::vector<std::string> words = absl::StrSplit(text, '\0');
  if (words.size() > kMaxArguments) words.resize(kMaxArguments);
  TrySettings(words);
  TryLossctlFlags(words);
  for (const std::string& word : words) TryWord(word);
}

}  // namespace lossd::fuzz
