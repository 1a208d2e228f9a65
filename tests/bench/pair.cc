#include "tests/bench/pair.h"

#include <cstdio>
#include <cstdlib>

namespace lossd::bench {
namespace {

Client ConnectOrDie(const std::string& address) {
  absl::StatusOr<Client> client = Client::Connect(address);
  CheckOk(client.status());
  return *std::move(client);
}

}  // namespace

Pair::Pair(const std::vector<std::string>& lossd_flags)
    : lossd_({"127.0.0.1:0"}, lossd_flags),
      client_(ConnectOrDie(lossd_.address())),
      echo_client_(echo_.address()) {}

void CheckOk(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

void ComputeOrDie(Client& client, const Problem& problem, MutableByteSpan gradient) {
  CheckOk(client.Compute(problem.spec(), problem.inputs(), {.gradient = gradient}).status());
}

}  // namespace lossd::bench
