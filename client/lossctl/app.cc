#include "client/lossctl/app.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/lossctl/bench/bench_command.h"
#include "client/lossctl/bench/bench_flags.h"
#include "client/lossctl/compute_command.h"
#include "client/lossctl/compute_flags.h"
#include "client/lossctl/health_command.h"
#include "client/lossctl/info_command.h"
#include "client/lossctl/report.h"
#include "client/lossctl/suggestion.h"

namespace lossd::lossctl {
namespace {

// "--loss=softmax|nll" instead of "--loss TEXT".
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(32); }

  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string& value = option->get_option_text();
    return value.empty() ? "" : absl::StrCat("=", value);
  }

  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    return absl::StrReplaceAll(CLI::Formatter::make_help(app, std::move(name), mode),
                               {{"\n\n\n", "\n\n"}});
  }
};

// What an unknown flag may have meant. CLI11 says only what it did not expect.
std::string Meant(const CLI::App& app, const CLI::ParseError& error) {
  if (dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr) return "";
  std::vector<std::string> names;
  std::vector<std::string> rest = app.remaining();
  for (const CLI::App* const command : app.get_subcommands()) {
    for (const CLI::Option* const option : command->get_options()) {
      names.push_back(option->get_name());
    }
    for (std::string& word : command->remaining()) rest.push_back(std::move(word));
  }
  for (const absl::string_view word : rest) {
    if (absl::StartsWith(word, "--")) return MeantFlag(word.substr(0, word.find('=')), names);
  }
  return "";
}

constexpr char kServerGroup[] = "Server";

constexpr char kSecurityGroup[] = "Security";

constexpr FlagRow<ServerFlags> kSecurityFlags[] = {
    {&ServerFlags::tls_ca, "--tls-ca", kSecurityGroup, "F.pem",
     "CAs of servers to trust; default: those of this system"},
    {&ServerFlags::tls_cert, "--tls-cert", kSecurityGroup, "F.pem",
     "for servers that ask for one: your certificate"},
    {&ServerFlags::tls_key, "--tls-key", kSecurityGroup, "F.pem", "its private key"},
    {&ServerFlags::tls_server_name, "--tls-server-name", kSecurityGroup, "NAME",
     "whom the server's certificate must be for;\ndefault: the host of --server"},
    {&ServerFlags::token_file, "--token-file", kSecurityGroup, "F",
     "a file with the bearer token the server asks for;\n"
     "needs TLS, a Unix socket or a loopback address"},
};

void AddFlags(CLI::App* command, const std::vector<Flag>& flags) {
  for (const Flag& flag : flags) {
    // A text is always accepted here.
    const auto set = [set = flag.set](const std::string& text) { set({text}).IgnoreError(); };
    command->add_option_function<std::string>("--" + flag.name, set, flag.help)
        ->option_text(flag.type)
        ->group(flag.group);
  }
}

void AddSecurityFlags(CLI::App* command, ServerFlags* flags) {
  command->add_flag("--tls", flags->tls, "encrypt; any other --tls flag says so, too")
      ->group(kSecurityGroup);
  AddFlags(command, FlagsOf<ServerFlags>(kSecurityFlags, *flags));
}

void AddServerFlags(CLI::App* command, const char* default_timeout, ServerFlags* flags) {
  command
      ->add_option("--server", flags->server,
                   "host:port, unix:/path, or several servers: host:port,host:port\n"
                   "or dns:///name:port; default: the environment's LOSSD_SERVER")
      ->option_text("ADDR")
      ->envname("LOSSD_SERVER")
      ->group(kServerGroup);
  command
      ->add_option("--timeout", flags->timeout,
                   absl::StrCat("of the whole call, such as 30s or 5m; default ", default_timeout))
      ->option_text("DURATION")
      ->group(kServerGroup);
  AddSecurityFlags(command, flags);
}

void AddJsonFlag(CLI::App* command, bool* json) {
  command->add_flag("--json", *json, "prints one JSON object")->group("Report");
}

CLI::App* AddCompute(CLI::App* app, ComputeFlags* flags) {
  CLI::App* const compute =
      app->add_subcommand("compute", "Computes loss and gradient of tensors in .npy files");
  AddServerFlags(compute, "2m", &flags->server);
  AddFlags(compute, FlagsOf(ComputeFlagTable(), *flags));
  compute
      ->add_option("--ignore-label", flags->ignore_labels,
                   "positions with this label count nothing; repeatable")
      ->option_text("N")
      ->allow_extra_args(false)
      ->group("Weights and labels");
  AddJsonFlag(compute, &flags->json);
  compute->footer(
      "Files are NumPy's .npy, versions 1 to 3; V2 is read and written as bf16. All tensors are\n"
      "brought to the layout of the predictions. Ranges and formulas: docs/semantics.md.\n"
      "Exit codes: 0 done, 1 the server refused or was not reached, 2 bad flags or files.\n\n"
      "Example:\n"
      "  lossctl compute --server=localhost:50151 --loss=softmax --predictions=logits.npy \\\n"
      "      --targets=labels.npy --gradient-out=gradient.npy\n");
  return compute;
}

CLI::App* AddBench(CLI::App* app, BenchFlags* flags) {
  CLI::App* const bench =
      app->add_subcommand("bench", "Loads a server, checks every answer and tells how fast it was");
  AddServerFlags(bench, "2m", &flags->server);
  AddFlags(bench, FlagsOf(BenchFlagTable(), *flags));
  AddJsonFlag(bench, &flags->json);
  bench->footer(
      "Each input is asked for once before the time begins; an answer that is not the same bits "
      "is\n"
      "wrong. Latency is that of right answers, repeats by the client library included. Ctrl-C "
      "ends\n"
      "the load, and the report follows. Exit codes: 0 all well; 1 wrong or failed calls, or the\n"
      "server was not reached; 2 bad flags.\n\n"
      "Examples:\n"
      "  lossctl bench --server=localhost:50151 --shape=1024x32000 --dtype=bf16 --concurrency=4\n"
      "  lossctl bench --server=a:50151,b:50151 --rate=500 --duration=1m --json\n");
  return bench;
}

}  // namespace

int Main(int argc, const char* const* argv) {
  CLI::App app("Computes losses with a lossd service.", "lossctl");
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_version_flag("--version", "lossctl " LOSSD_VERSION);
  app.require_subcommand(0, 1);
  app.footer("Flags of a command: lossctl COMMAND --help\n");

  ComputeFlags compute_flags;
  ServerFlags info_flags;
  bool info_json = false;
  ServerFlags health_flags;
  std::string service;
  BenchFlags bench_flags;
  CLI::App* const compute = AddCompute(&app, &compute_flags);
  CLI::App* const bench = AddBench(&app, &bench_flags);
  CLI::App* const info = app.add_subcommand("info", "Tells what a server is and accepts");
  AddServerFlags(info, "10s", &info_flags);
  AddJsonFlag(info, &info_json);
  info->footer("Exit codes: 0 done, 1 the server refused or was not reached, 2 bad flags.\n");
  CLI::App* const health = app.add_subcommand("health", "Asks whether a server is serving");
  AddServerFlags(health, "1s", &health_flags);
  health->add_option("--service", service, "default: the server as a whole")
      ->option_text("NAME")
      ->group(kServerGroup);
  health->footer(
      "Exit codes: 0 serving, 1 bad arguments, 2 cannot connect, 3 call failed, 4 not serving.\n");

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    BadUsage(absl::StrCat(error.what(), Meant(app, error), " (see lossctl --help)"));
    return health->parsed() ? static_cast<int>(kBadArguments) : static_cast<int>(kBadUsage);
  }
  if (compute->parsed()) return RunCompute(compute_flags);
  if (bench->parsed()) return RunBench(bench_flags);
  if (info->parsed()) return RunInfo(info_flags, info_json);
  if (health->parsed()) return RunHealth(health_flags, service);
  return BadUsage("wanted a command: compute, bench, info or health (see lossctl --help)");
}

}  // namespace lossd::lossctl
