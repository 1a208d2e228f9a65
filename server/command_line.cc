#include "server/command_line.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/listen_address.h"

namespace lossd {
namespace {

constexpr int kMaxThreads = 1024;
constexpr double kMinSeconds = 0.001;
constexpr double kMaxSeconds = 24 * 3600;

// CLI11 would spell the checks out in --help; the text of each flag says as much.
CLI::Validator Quiet(CLI::Validator validator) {
  validator.description("");
  return validator;
}

void AddSize(const std::string& flag, int64_t& value, const std::string& help,
             const SizeRange& range, CLI::App& app) {
  app.add_option(flag, value, help + "; bytes, or with a unit: KiB, MiB, GiB")
      ->check(Quiet(CLI::Range(range.least, range.most)))
      ->transform(Quiet(CLI::AsSizeValue(/*kb_is_1000=*/true)))
      ->default_str(SizeText(value))
      ->type_name("SIZE");
}

void AddFile(const std::string& flag, std::string& path, const std::string& help, CLI::App& app) {
  app.add_option(flag, path, help)->type_name("FILE");
}

void AddAddresses(ServerOptions& server, CLI::App& app) {
  const CLI::Validator address(
      [](std::string& text) {
        const auto parsed = ListenAddress::Parse(text);
        return parsed.ok() ? std::string() : std::string(parsed.status().message());
      },
      "");
  app.add_option("--listen", server.listen,
                 "Address to serve on: host:port, [IPv6]:port or unix:/path; port 0 picks a free "
                 "one; may be repeated")
      ->check(address)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->default_str(server.listen.front())
      ->type_name("ADDR");
  app.add_flag("--insecure-listen", server.insecure_listen,
               "Serve without TLS on addresses that other machines reach");
  app.add_option("--health-listen", server.health_listen,
                 "Address to serve health checks on, and nothing else, in the clear")
      ->check(address)
      ->type_name("ADDR");
  app.add_option("--metrics-listen", server.metrics_listen,
                 "Address to serve metrics on, for Prometheus, in the clear: http://ADDR/metrics")
      ->check(address)
      ->type_name("ADDR");
}

void AddSecurity(ServerOptions& server, CLI::App& app) {
  AddFile("--tls-cert", server.tls.certificate,
          "PEM file: certificate of this server, and those that lead to its CA", app);
  AddFile("--tls-key", server.tls.key, "PEM file: private key of the certificate", app);
  AddFile("--tls-client-ca", server.tls.client_ca,
          "PEM file: CAs of clients, which must bring a certificate then", app);
  AddFile("--auth-token-file", server.auth_token_file,
          "File of bearer tokens, one a line; calls must bring one of them", app);
  app.add_flag("--reflection", server.reflection, "Tell callers the methods and messages");
}

// Seconds; 0 stands for never, where `or_never`.
void AddSeconds(const std::string& flag, absl::Duration& value, const std::string& help,
                bool or_never, CLI::App& app) {
  app.add_option_function<double>(
         flag,
         [&value, or_never](double seconds) {
           value = or_never && seconds == 0 ? absl::InfiniteDuration() : absl::Seconds(seconds);
         },
         help + (or_never ? "; 0: never" : ""))
      ->check(Quiet(CLI::Range(or_never ? 0.0 : kMinSeconds, kMaxSeconds)))
      ->default_str(absl::StrCat(absl::ToDoubleSeconds(value)))
      ->type_name("SECONDS");
}

void AddConnections(ConnectionOptions& connections, CLI::App& app) {
  app.add_option("--max-connections", connections.max_connections,
                 "Connections open at once; 0: as many as descriptors allow, at most 4096")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--max-streams", connections.max_streams, "Calls at once on one connection")
      ->check(Quiet(CLI::Range(1, std::numeric_limits<int>::max())))
      ->capture_default_str()
      ->type_name("N");
  AddSeconds("--handshake-timeout", connections.handshake_timeout,
             "After which a connection that is not set up is closed", false, app);
  AddSeconds("--keepalive-time", connections.keepalive_time,
             "Silence after which a client is asked whether it is there", false, app);
  AddSeconds("--keepalive-timeout", connections.keepalive_timeout, "For its answer", false, app);
  AddSeconds("--connection-idle", connections.max_idle,
             "After which a connection without calls is closed", true, app);
  AddSeconds("--connection-age", connections.max_age,
             "After which a client is asked to connect again", true, app);
  AddSeconds("--connection-age-grace", connections.max_age_grace,
             "For the calls such a connection still has", true, app);
}

void AddLimits(wire::Limits& limits, CLI::App& app) {
  AddSize("--max-unary-bytes", limits.max_unary_bytes, "Largest request of Compute", kMessageBytes,
          app);
  AddSize("--max-block-bytes", limits.max_block_bytes, "Largest message on a stream", kMessageBytes,
          app);
  AddSize("--max-side-bytes", limits.max_side_bytes,
          "Labels, weights and upstream gradient of one stream together", kTensorBytes, app);
  AddSize("--max-tensor-bytes", limits.max_tensor_bytes, "Predictions of one stream", kTensorBytes,
          app);
}

void AddFlags(CommandLine& line, CLI::App& app) {
  ServerOptions& server = line.server;
  AddAddresses(server, app);
  AddSecurity(server, app);
  AddConnections(server.connections, app);
  app.add_option("--threads", server.threads,
                 "Threads that compute; 0: as many as this process may use")
      ->check(Quiet(CLI::Range(0, kMaxThreads)))
      ->capture_default_str()
      ->type_name("N");
  AddLimits(server.limits, app);
  AddSize("--memory-budget", server.memory_budget,
          "Memory that calls may hold together; by default half of what this process may use",
          kMemoryBudget, app);
  app.add_option_function<double>(
         "--max-call-duration",
         [&server](double seconds) {
           server.times.call =
               std::chrono::duration_cast<Interval>(std::chrono::duration<double>(seconds));
         },
         "Seconds that a call may take")
      ->check(Quiet(CLI::Range(kMinSeconds, kMaxSeconds)))
      ->default_str(absl::StrCat(std::chrono::duration<double>(server.times.call).count()))
      ->type_name("SECONDS");
  app.add_option_function<double>(
         "--drain-timeout",
         [&line](double seconds) { line.drain_timeout = absl::Seconds(seconds); },
         "Seconds that calls in flight may still take after SIGTERM or SIGINT")
      ->check(Quiet(CLI::Range(0.0, kMaxSeconds)))
      ->default_str(absl::StrCat(absl::ToDoubleSeconds(line.drain_timeout)))
      ->type_name("SECONDS");
}

// Before a transformer, which lets a number pass for any word.
CLI::Validator OneOf(const std::vector<std::string>& words) { return Quiet(CLI::IsMember(words)); }

void AddLog(LogOptions& log, CLI::App& app) {
  app.add_option("--log-format", log.format, "Form of the log on standard error: text or json")
      ->transform(Quiet(CLI::Transformer(std::vector<std::pair<std::string, LogFormat>>{
          {"text", LogFormat::kText}, {"json", LogFormat::kJson}})))
      ->transform(OneOf({"text", "json"}))
      ->default_str("text")
      ->type_name("FORMAT");
  app.add_option("--log-level", log.level,
                 "What is logged, and what is worse: debug, info, warning or error")
      ->transform(Quiet(CLI::Transformer(
          std::vector<std::pair<std::string, LogLevel>>{{"debug", LogLevel::kDebug},
                                                        {"info", LogLevel::kInfo},
                                                        {"warning", LogLevel::kWarning},
                                                        {"error", LogLevel::kError}})))
      ->transform(OneOf({"debug", "info", "warning", "error"}))
      ->default_str("info")
      ->type_name("LEVEL");
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv) {
  CommandLine line;
  CLI::App app("lossd: computes losses and gradients for trainers, over gRPC", "lossd");
  app.set_version_flag("--version", std::string("lossd ") + LOSSD_VERSION);
  AddFlags(line, app);
  AddLog(line.log, app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    line.print = app.help();
  } catch (const CLI::CallForVersion& version) {
    line.print = std::string(version.what()) + "\n";
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(absl::StrReplaceAll(error.what(), {{"\n", " "}}));
  }
  return line;
}

}  // namespace lossd
