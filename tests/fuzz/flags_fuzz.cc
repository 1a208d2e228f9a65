// What people type: the command line of lossd, the flags of lossctl, addresses. An error is one
// line in the right words; what is accepted is in range.
//   input: the arguments, separated by NUL

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/lossctl/compute_flags.h"
#include "client/lossctl/flags.h"
#include "client/lossctl/units.h"
#include "server/command_line.h"
#include "server/listen_address.h"
#include "tests/fuzz/input.h"

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

void TryCommandLine(const std::vector<std::string>& words) {
  std::vector<const char*> argv = {"lossd"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  const absl::StatusOr<CommandLine> line =
      ParseCommandLine(static_cast<int>(argv.size()), argv.data());
  if (!line.ok()) {
    CheckError(line.status());
    const auto text = line.status().message();
    const bool in_words = std::any_of(words.begin(), words.end(), [](const std::string& word) {
      return word.find('\n') != std::string::npos;
    });
    Require(in_words || text.find('\n') == text.npos, "an error of several lines");
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
      flags.*table[row].flag = value;
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
  TryCommandLine(words);
  TryLossctlFlags(words);
  for (const std::string& word : words) TryWord(word);
}

}  // namespace lossd::fuzz
