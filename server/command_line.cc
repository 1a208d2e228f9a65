#include "server/command_line.h"

#include <CLI/CLI.hpp>
#include <string>

#include "absl/strings/str_replace.h"
#include "server/listen_address.h"

namespace lossd {
namespace {

constexpr int64_t kMaxDrainSeconds = 24 * 3600;

void AddFlags(CommandLine& line, double& drain_seconds, CLI::App& app) {
  ServerOptions& server = line.server;
  const CLI::Validator address(
      [](std::string& text) {
        const auto parsed = ListenAddress::Parse(text);
        return parsed.ok() ? std::string() : std::string(parsed.status().message());
      },
      "ADDR");
  app.add_option("--listen", server.listen,
                 "Address to serve on: host:port, [IPv6]:port or unix:/path; port 0 picks a free "
                 "one. May be repeated")
      ->check(address)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->capture_default_str();
  app.add_option("--threads", server.threads,
                 "Threads that compute; 0: as many as this process may use")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  const auto add_size = [&](const std::string& flag, int64_t& value, const std::string& help,
                            const SizeRange& range) {
    app.add_option(flag, value, help + ", in bytes or with a unit: KiB, MiB, GiB")
        ->check(CLI::Range(range.least, range.most))
        ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))
        ->capture_default_str()
        ->type_name("SIZE");
  };
  add_size("--max-unary-bytes", server.limits.max_unary_bytes, "Largest request of Compute",
           kMessageBytes);
  add_size("--max-block-bytes", server.limits.max_block_bytes, "Largest message on a stream",
           kMessageBytes);
  add_size("--max-side-bytes", server.limits.max_side_bytes,
           "Labels, weights and upstream gradient of one stream together", kTensorBytes);
  add_size("--max-tensor-bytes", server.limits.max_tensor_bytes, "Predictions of one stream",
           kTensorBytes);
  app.add_option("--drain-timeout", drain_seconds,
                 "Seconds that calls in flight may still take after SIGTERM or SIGINT")
      ->check(CLI::Range(0.0, static_cast<double>(kMaxDrainSeconds)))
      ->capture_default_str();
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
