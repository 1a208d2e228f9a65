#include "server/command_line.h"

#include <CLI/CLI.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_replace.h"
#include "server/listen_address.h"

namespace lossd {
namespace {

constexpr int kMaxThreads = 1024;
constexpr double kMaxDrainSeconds = 24 * 3600;

// CLI11 would spell the checks out in --help; the text of each flag says as much.
CLI::Validator Quiet(CLI::Validator validator) {
  validator.description("");
  return validator;
}

// "64MiB", "1000"
std::string SizeString(int64_t bytes) {
  for (const auto& [unit, size] : {std::pair("TiB", int64_t{1} << 40),
                                   {"GiB", int64_t{1} << 30},
                                   {"MiB", int64_t{1} << 20},
                                   {"KiB", int64_t{1} << 10}}) {
    if (bytes >= size && bytes % size == 0) return std::to_string(bytes / size) + unit;
  }
  return std::to_string(bytes);
}

void AddSize(const std::string& flag, int64_t& value, const std::string& help,
             const SizeRange& range, CLI::App& app) {
  app.add_option(flag, value, help + "; bytes, or with a unit: KiB, MiB, GiB")
      ->check(Quiet(CLI::Range(range.least, range.most)))
      ->transform(Quiet(CLI::AsSizeValue(/*kb_is_1000=*/true)))
      ->default_str(SizeString(value))
      ->type_name("SIZE");
}

void AddFlags(CommandLine& line, double& drain_seconds, CLI::App& app) {
  ServerOptions& server = line.server;
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
  app.add_option("--threads", server.threads,
                 "Threads that compute; 0: as many as this process may use")
      ->check(Quiet(CLI::Range(0, kMaxThreads)))
      ->capture_default_str()
      ->type_name("N");
  wire::Limits& limits = server.limits;
  AddSize("--max-unary-bytes", limits.max_unary_bytes, "Largest request of Compute", kMessageBytes,
          app);
  AddSize("--max-block-bytes", limits.max_block_bytes, "Largest message on a stream", kMessageBytes,
          app);
  AddSize("--max-side-bytes", limits.max_side_bytes,
          "Labels, weights and upstream gradient of one stream together", kTensorBytes, app);
  AddSize("--max-tensor-bytes", limits.max_tensor_bytes, "Predictions of one stream", kTensorBytes,
          app);
  app.add_option("--auth-token-file", server.auth_token_file,
                 "File of bearer tokens, one a line; calls must bring one of them")
      ->type_name("FILE");
  app.add_option("--drain-timeout", drain_seconds,
                 "Seconds that calls in flight may still take after SIGTERM or SIGINT")
      ->check(Quiet(CLI::Range(0.0, kMaxDrainSeconds)))
      ->capture_default_str()
      ->type_name("SECONDS");
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv) {
  CommandLine line;
  double drain_seconds = absl::ToDoubleSeconds(line.drain_timeout);
  CLI::App app("lossd: computes losses and gradients for trainers, over gRPC", "lossd");
  app.set_version_flag("--version", std::string("lossd ") + LOSSD_VERSION);
  AddFlags(line, drain_seconds, app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    line.print = app.help();
  } catch (const CLI::CallForVersion& version) {
    line.print = std::string(version.what()) + "\n";
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(absl::StrReplaceAll(error.what(), {{"\n", " "}}));
  }
  line.drain_timeout = absl::Seconds(drain_seconds);
  return line;
}

}  // namespace lossd
