#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

#include "core/system/usable_threads.h"
#include "tests/bench/report.h"
#include "tests/bench/row.h"

namespace lossd::bench {
namespace {

struct Arguments {
  Settings settings;
  std::string json;
  std::string filter;
};

std::vector<Row> Selected(const Arguments& arguments) {
  const std::regex filter(arguments.filter);
  std::vector<Row> selected;
  for (const auto& rows : {KernelRows(), CallRows(), LatencyRows(), SharedRows(), MemoryRows()}) {
    for (const Row& row : rows) {
      if (arguments.settings.quick && row.slow) continue;
      if (std::regex_search(row.name, filter)) selected.push_back(row);
    }
  }
  return selected;
}

int Run(const Arguments& arguments) {
  const Machine machine = DescribeMachine();
  PrintMachine(machine);
  PrintHeading();
  std::vector<Result> results;
  for (const Row& row : Selected(arguments)) {
    results.push_back({row, row.measure(arguments.settings)});
    PrintResult(results.back());
  }
  if (arguments.json.empty()) return 0;
  std::ofstream file(arguments.json);
  file << ToJson(machine, results) << std::flush;
  if (file) return 0;
  std::fprintf(stderr, "bench: cannot write %s\n", arguments.json.c_str());
  return 1;
}

}  // namespace
}  // namespace lossd::bench

int main(int argc, char** argv) {
  lossd::bench::Arguments arguments;
  arguments.settings.threads = lossd::UsableThreads();
  CLI::App app("What lossd takes, as a ratio to what the bytes alone take.");
  app.add_flag("--quick", arguments.settings.quick, "Fewer repeats, no slow rows: within a minute");
  app.add_option("--json", arguments.json, "Also write the results to this file");
  app.add_option("--filter", arguments.filter,
                 "Only rows whose name this regular expression finds");
  try {
    app.parse(argc, argv);
    return lossd::bench::Run(arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::regex_error& error) {
    std::fprintf(stderr, "bench: --filter: %s\n", error.what());
    return 2;
  }
}
