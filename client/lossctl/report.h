#ifndef LOSSD_LOSSCTL_REPORT_H_
#define LOSSD_LOSSCTL_REPORT_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "lossd/client.h"
#include "nlohmann/json.hpp"

// What lossctl says: tables for people, JSON for programs, one line for a mistake.

namespace lossd::lossctl {

// Exit codes of compute and info; health has those of grpc_health_probe (health_command.h).
enum ExitCode : int {
  kDone = 0,
  kRefused = 1,   // the server was not reached, or refused
  kBadUsage = 2,  // flags, files, standard output
};

using Row = std::pair<std::string, std::string>;

// Rows with the second column aligned, one per line.
std::string Table(const std::vector<Row>& rows);

// The answer's fields of docs/semantics.md, section 4; correct_count where the answer has it.
std::vector<Row> Rows(const LossResult& result);
std::vector<Row> Rows(const ServerInfo& info);

// The same fields. Numbers read back as the same bits; what JSON has no number for is a string:
// "NaN", "Infinity", "-Infinity", as in protobuf's JSON.
nlohmann::ordered_json ToJson(const LossResult& result);
nlohmann::ordered_json ToJson(const ServerInfo& info);
std::string Text(const nlohmann::ordered_json& json);

// Prints to standard output. kBadUsage, with a line on standard error, where that fails.
int Print(absl::string_view text);

// Prints "lossctl: MESSAGE", and returns kBadUsage.
int BadUsage(absl::string_view message);

// Prints the code, the server's message and what to do next, and returns kRefused.
int Refused(const absl::Status& status, absl::string_view server);

// The two lines Refused prints.
std::string RefusalText(const absl::Status& status, absl::string_view server);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_REPORT_H_
