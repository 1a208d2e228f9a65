// Admission against simple models: CallCaps, ByteBudget, MessageGate and CallTimes, with events in
// any order and clocks that stand still, jump and go backwards.
//   input: a byte that says which, then events

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/admission/call_caps.h"
#include "tests/fuzz/admission_plays.h"
#include "tests/fuzz/input.h"

namespace lossd::fuzz {

// Calls by peers and connections against counts.
void PlayCaps(Input& input) {
  const CallLimits limits = {.calls = 12, .calls_per_peer = 6, .calls_per_connection = 3};
  AdmissionCounters counters;
  CallCaps caps(limits, &counters);
  struct Call {
    std::string connection;
    CallCaps::Pass pass;
  };
  std::vector<Call> calls;
  Clock clock;
  for (int events = 0; events < 300 && !input.empty(); ++events) {
    const Instant now = clock.Next(input);
    if (input.Byte() % 3 != 0 || calls.empty()) {
      const std::string peer = absl::StrCat("ipv4:10.0.0.", input.Below(3));
      const std::string name = absl::StrCat(peer, ":", 1 + input.Below(3));
      int64_t of_peer = 0;
      int64_t of_connection = 0;
      for (const Call& call : calls) {
        of_peer += call.connection.substr(0, call.connection.rfind(':')) == peer ? 1 : 0;
        of_connection += call.connection == name ? 1 : 0;
      }
      absl::StatusOr<CallCaps::Pass> pass = caps.Begin(name, now);
      const bool over = static_cast<int64_t>(calls.size()) >= limits.calls ||
                        of_peer >= limits.calls_per_peer ||
                        of_connection >= limits.calls_per_connection;
      Require(!pass.ok() || !over, absl::StrCat("a call over a quota began on ", name));
      if (pass.ok()) calls.push_back({name, *std::move(pass)});
    } else {
      const auto gone = input.Below(static_cast<int64_t>(calls.size()));
      if (input.Flag()) calls[gone].pass.BrokenOff();
      calls.erase(calls.begin() + gone);
    }
    Require(counters.calls == static_cast<int64_t>(calls.size()), "calls are counted wrong");
  }
  calls.clear();
  Require(counters.calls == 0, "something was left");
}

void TestOne(Input input) {
  switch (input.Byte() % 6) {
    case 0:
      return PlayBudget(input);
    case 1:
      return PlayHoard(input);
    case 2:
      return PlayGate(input);
    case 3:
      return PlayTimes(input);
    case 4:
      return PlayHonest(input);
    default:
      return PlayCaps(input);
  }
}

}  // namespace lossd::fuzz
