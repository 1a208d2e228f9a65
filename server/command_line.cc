#include "server/command_line.h"

#include <CLI/CLI.hpp>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "core/flags/flag.h"
#include "core/flags/flag_list.h"
#include "lossd/status_macros.h"
#include "server/config/address_flags.h"
#include "server/config/config_file.h"
#include "server/config/variables.h"

namespace lossd {
namespace {

constexpr NumberRange<int> kThreads = {0, 1024};
constexpr NumberRange<int> kStreams = {1, std::numeric_limits<int>::max()};
constexpr NumberRange<int64_t> kConnections = {0, std::numeric_limits<int32_t>::max()};
const DurationRange kTime = {absl::Milliseconds(1), absl::Hours(24)};
const DurationRange kTimeOrNever = {absl::Milliseconds(1), absl::Hours(24), /*or_never=*/true};
const DurationRange kTimeOrNone = {absl::ZeroDuration(), absl::Hours(24)};

constexpr char kConfigVariable[] = "LOSSD_CONFIG";
constexpr char kFooter[] =
    "Each of these may also be a variable of the environment (--max-streams=7: "
    "LOSSD_MAX_STREAMS=7)\nor a line of the file that --config or LOSSD_CONFIG names (max-streams "
    "= 7). A flag counts\nbefore the environment, the environment before the file.";

std::vector<Flag> Addresses(ServerOptions& server) {
  return {AddressesFlag("listen", server.listen,
                        "Address to serve on: host:port, [IPv6]:port or unix:/path; port 0 picks a "
                        "free one; may be repeated"),
          SwitchFlag("insecure-listen", server.insecure_listen,
                     "Serve without TLS on addresses that other machines reach"),
          AddressFlag("health-listen", server.health_listen,
                      "Address to serve health checks on, and nothing else, in the clear"),
          AddressFlag("metrics-listen", server.metrics_listen,
                      "Address to serve metrics on, for Prometheus, in the clear: "
                      "http://ADDR/metrics"),
          AddressFlag("shared-memory", server.shared_memory,
                      "Unix socket, unix:/path, over which programs of the same user on this "
                      "machine share memory, so that tensors are not copied")};
}

std::vector<Flag> Security(CommandLine& line) {
  ServerOptions& server = line.server;
  return {FileFlag("tls-cert", server.tls.certificate,
                   "PEM file: certificate of this server, and those that lead to its CA"),
          FileFlag("tls-key", server.tls.key, "PEM file: private key of the certificate"),
          FileFlag("tls-client-ca", server.tls.client_ca,
                   "PEM file: CAs of clients, which must bring a certificate then"),
          FileFlag("auth-token-file", server.auth_token_file,
                   "File of bearer tokens, one a line; calls must bring one of them"),
          TextFlag("trusted-proxies", server.trusted_proxies, "CIDRS",
                   "Ranges such as 10.0.0.0/8, and unix, of proxies that may name the client's "
                   "address"),
          SwitchFlag("reflection", server.reflection, "Tell callers the methods and messages"),
          SwitchFlag("sandbox", line.sandbox,
                     "Give up the files and system calls that a server does not need, as far as "
                     "the kernel can; --sandbox=false: keep them")};
}

std::vector<Flag> Connections(ConnectionOptions& connections) {
  return {NumberFlag("max-connections", connections.max_connections, kConnections,
                     "Connections open at once; 0: as many as descriptors allow, at most 4096"),
          NumberFlag("max-streams", connections.max_streams, kStreams,
                     "Calls at once on one connection"),
          DurationFlag("handshake-timeout", connections.handshake_timeout, kTime,
                       "After which a connection that is not set up is closed"),
          DurationFlag("keepalive-time", connections.keepalive_time, kTime,
                       "Silence after which a client is asked whether it is there"),
          DurationFlag("keepalive-timeout", connections.keepalive_timeout, kTime,
                       "After which a client that does not answer is given up"),
          DurationFlag("connection-idle", connections.max_idle, kTimeOrNever,
                       "After which a connection without calls is closed"),
          DurationFlag("connection-age", connections.max_age, kTimeOrNever,
                       "After which a client is asked to connect again"),
          DurationFlag("connection-age-grace", connections.max_age_grace, kTimeOrNever,
                       "For the calls such a connection still has")};
}

std::vector<Flag> Limits(CommandLine& line) {
  ServerOptions& server = line.server;
  wire::Limits& limits = server.limits;
  return {
      NumberFlag("threads", server.threads, kThreads,
                 "Threads that compute; 0: as many as this process may use"),
      SizeFlag("max-unary-bytes", limits.max_unary_bytes, kMessageBytes,
               "Largest request of Compute"),
      SizeFlag("max-block-bytes", limits.max_block_bytes, kMessageBytes,
               "Largest message on a stream"),
      SizeFlag("max-side-bytes", limits.max_side_bytes, kTensorBytes,
               "Labels, weights and upstream gradient of one stream together"),
      SizeFlag("max-tensor-bytes", limits.max_tensor_bytes, kTensorBytes,
               "Predictions of one stream"),
      SizeFlag("memory-budget", server.memory_budget, kMemoryBudget,
               "Memory that calls may hold together; by default half of what this process may use"),
      DurationFlag("max-call-duration", server.times.call, kTime, "Time that a call may take"),
      DurationFlag("drain-timeout", line.drain_timeout, kTimeOrNone,
                   "Time that calls in flight may still take after SIGTERM or SIGINT")};
}

std::vector<Flag> Logging(CommandLine& line) {
  LogOptions& log = line.log;
  return {EnumFlag("log-format", log.format, {"text", "json"}, "Form of the log on standard error"),
          EnumFlag("log-level", log.level, {"debug", "info", "warning", "error"},
                   "What is logged, and what is worse"),
          FileFlag("audit-log", line.audit_log,
                   "File to append a line to for each call and who made it; -: standard error")};
}

FlagList FlagsOf(CommandLine& line) {
  FlagList flags;
  flags.Add("Addresses", Addresses(line.server));
  flags.Add("Security", Security(line));
  flags.Add("Connections", Connections(line.server.connections));
  flags.Add("Limits", Limits(line));
  flags.Add("Log", Logging(line));
  return flags;
}

// ----------------------------------------------------------------------------------- arguments

struct Arguments {
  std::vector<Given> given;
  std::string config;  // path; empty: none was named
  bool print_config = false;
  std::string print;  // help or version
};

CLI::Option* AddOption(const Flag& flag, std::string& text, CLI::App& app) {
  const std::string name = "--" + flag.name;
  if (flag.takes == Flag::Takes::kSwitch) return app.add_flag(name, flag.help);
  CLI::Option* const option = app.add_option(name, text, flag.help);
  if (flag.takes == Flag::Takes::kMany) {
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  const std::string usual = absl::StrJoin(flag.get(), ",");
  if (!usual.empty()) option->default_str(usual);
  return option->type_name(flag.type);
}

absl::StatusOr<Arguments> ParseArguments(int argc, const char* const* argv, const FlagList& flags) {
  Arguments arguments;
  CLI::App app("lossd: computes losses and gradients for trainers, over gRPC", "lossd");
  app.set_version_flag("--version", std::string("lossd ") + LOSSD_VERSION);
  app.add_option("--config", arguments.config, "File of settings: lines such as max-streams = 7")
      ->type_name("FILE");
  app.add_flag("--print-config", arguments.print_config,
               "Print all settings as such a file, and end");
  app.footer(kFooter);
  std::string text;
  std::vector<CLI::Option*> options;
  for (const Flag& flag : flags.flags()) {
    options.push_back(AddOption(flag, text, app)->group(flag.group));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    arguments.print = app.help();
  } catch (const CLI::CallForVersion& version) {
    arguments.print = std::string(version.what()) + "\n";
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(absl::StrReplaceAll(error.what(), {{"\n", " "}}));
  }
  for (size_t i = 0; i < options.size(); ++i) {
    const std::string& name = flags.flags()[i].name;
    if (options[i]->count() > 0) {
      arguments.given.push_back({name, options[i]->results(), "--" + name});
    }
  }
  return arguments;
}

// The file that is to be read; an empty path: none.
NamedFile ConfigOf(const Arguments& arguments, const std::vector<std::string>& variables) {
  if (!arguments.config.empty()) return {"--config", arguments.config};
  const std::string start = absl::StrCat(kConfigVariable, "=");
  for (const std::string& variable : variables) {
    if (variable.starts_with(start)) return {kConfigVariable, variable.substr(start.size())};
  }
  return {};
}

absl::Status SetAll(const std::vector<Given>& all, FlagList& flags) {
  for (const Given& given : all) LOSSD_RETURN_IF_ERROR(flags.Set(given));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv,
                                             const std::vector<std::string>& variables) {
  CommandLine line;
  FlagList flags = FlagsOf(line);
  LOSSD_ASSIGN_OR_RETURN(Arguments arguments, ParseArguments(argc, argv, flags));
  line.print = std::move(arguments.print);
  if (!line.print.empty()) return line;
  if (const NamedFile file = ConfigOf(arguments, variables); !file.path.empty()) {
    if (const absl::Status fits = CheckFitsALine(file.path); !fits.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(file.option, ": ", fits.message()));
    }
    LOSSD_ASSIGN_OR_RETURN(const std::vector<Given> of_file, ReadConfigFile(file, flags));
    LOSSD_RETURN_IF_ERROR(SetAll(of_file, flags));
  }
  LOSSD_ASSIGN_OR_RETURN(const std::vector<Given> of_environment, ReadVariables(variables, flags));
  LOSSD_RETURN_IF_ERROR(SetAll(of_environment, flags));
  LOSSD_RETURN_IF_ERROR(SetAll(arguments.given, flags));
  if (arguments.print_config) {
    line.print = absl::StrCat("# lossd ", LOSSD_VERSION, ", for --config\n", flags.Text());
  }
  return line;
}

}  // namespace lossd
