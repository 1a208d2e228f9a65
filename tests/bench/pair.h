#ifndef LOSSD_TESTS_BENCH_PAIR_H_
#define LOSSD_TESTS_BENCH_PAIR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "lossd/client.h"
#include "tests/bench/echo/client.h"
#include "tests/bench/tensors.h"
#include "tests/support/process.h"

namespace lossd::bench {

// A lossd and an echo, each in a process of its own, and a client for each.
class Pair {
 public:
  explicit Pair(const std::vector<std::string>& lossd_flags = {});

  ServerProcess& lossd() { return lossd_; }
  const EchoProcess& echo() const { return echo_; }
  Client& client() { return client_; }
  EchoClient& echo_client() { return echo_client_; }

 private:
  ServerProcess lossd_;
  EchoProcess echo_;
  Client client_;
  EchoClient echo_client_;
};

// Ends the program with the error, if it is one.
void CheckOk(const absl::Status& status);

void ComputeOrDie(Client& client, const Problem& problem, MutableByteSpan gradient);

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_PAIR_H_
