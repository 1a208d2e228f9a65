#include "server/log/grpc_log.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lossd {
namespace {

constexpr size_t kMaxMessageBytes = 1000;
constexpr char kWithheld[] = "(withheld)";

// gRPC calls back from threads of its own, which outlive everything here.
std::mutex target_mutex;
Log* target = nullptr;

bool IsDelimiter(char c) { return std::strchr(" \t\r\n\"'`,;=()<>{}", c) != nullptr; }

// "1.2.3.4:5", "[::1]:5", "fe80::1%2", "unix:/path", "ipv4:..."
bool IsAddress(absl::string_view word) {
  for (const char* scheme : {"ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:"}) {
    if (absl::StrContains(word, scheme)) return true;
  }
  if (absl::StartsWith(word, "[") || absl::StrContains(word, "%5B")) {
    return absl::StrContains(word, ":");
  }
  word = word.substr(0, word.find('%'));
  const auto numeric = [](char c) { return std::strchr("0123456789abcdefABCDEF.:", c) != nullptr; };
  return std::all_of(word.begin(), word.end(), numeric) &&
         (std::count(word.begin(), word.end(), '.') >= 3 ||
          std::count(word.begin(), word.end(), ':') >= 2);
}

std::string WithoutAddresses(absl::string_view text) {
  std::string kept;
  while (!text.empty()) {
    const auto end = std::find_if(text.begin(), text.end(), IsDelimiter);
    const absl::string_view word = text.substr(0, end - text.begin());
    absl::StrAppend(&kept, IsAddress(word) ? kWithheld : word);
    text.remove_prefix(word.size());
    if (text.empty()) break;
    kept += text.front();
    text.remove_prefix(1);
  }
  return kept;
}

void Write(LogLevel level, const char* file, int line, std::string_view message) {
  const std::lock_guard lock(target_mutex);
  if (target == nullptr || !target->Writes(level)) return;
  const char* const slash = std::strrchr(file, '/');
  const std::string source = absl::StrCat(slash == nullptr ? file : slash + 1, ":", line);
  target->Write(level, LogEvent::kGrpc, {{"source", source}, {"message", WithoutSecrets(message)}});
}

void WriteGrpcMessage(gpr_log_func_args* args) {
  Write(args->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug,
        args->file, args->line, args->message);
}

// A message with a text field that is no UTF-8 is enough for one, and gRPC parses some itself.
void WriteProtobufMessage(google::protobuf::LogLevel level, const char* file, int line,
                          const std::string& message) {
  Write(level >= google::protobuf::LOGLEVEL_WARNING ? LogLevel::kWarning : LogLevel::kDebug, file,
        line, message);
}

}  // namespace

GrpcLogRoute::GrpcLogRoute(Log* log) {
  {
    const std::lock_guard lock(target_mutex);
    target = log;
  }
  google::protobuf::SetLogHandler(WriteProtobufMessage);
  gpr_set_log_function(WriteGrpcMessage);
  gpr_set_log_verbosity(log->Writes(LogLevel::kDebug) ? GPR_LOG_SEVERITY_INFO
                                                      : GPR_LOG_SEVERITY_ERROR);
}

GrpcLogRoute::~GrpcLogRoute() {
  const std::lock_guard lock(target_mutex);
  target = nullptr;
}

std::string WithoutSecrets(std::string_view message) {
  absl::string_view text(message.data(), std::min(message.size(), kMaxMessageBytes));
  if (absl::StrContains(absl::AsciiStrToLower(text), "authorization")) return kWithheld;
  // gRPC quotes metadata it cannot parse, with the value last.
  constexpr absl::string_view kValue = "value=";
  const size_t value = text.find(kValue);
  if (value == absl::string_view::npos) return WithoutAddresses(text);
  return absl::StrCat(WithoutAddresses(text.substr(0, value)), kValue, kWithheld);
}

}  // namespace lossd
