#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "server/admission/message_gate.h"
#include "tests/fuzz/admission_plays.h"

namespace lossd::fuzz {
namespace {

struct GateCall final : MessageGate::Waiter {
  void OnPlace(MessageGate::Place given) override {
    ++answers;
    place = std::move(given);
  }
  bool waits() const { return answers == 0; }

  int peer = 0;
  int answers = 0;
  bool gone = false;  // withdrew
  MessageGate::Place place;
};

}  // namespace

// What holds whatever happens: never more places than there are, none free while a call waits but
// for those given back since the last tick, each call told once; a free place goes to a peer that
// holds the fewest of those that wait; a place is wanted only where that makes peers more equal.
void PlayGate(Input& input) {
  const int64_t places = 1 + input.Below(6);
  AdmissionCounters counters;
  MessageGate gate(places, &counters);
  std::vector<std::unique_ptr<GateCall>> calls;
  const auto held = [&](int peer) {
    return std::count_if(calls.begin(), calls.end(), [peer](const auto& call) {
      return call->peer == peer && static_cast<bool>(call->place);
    });
  };
  const auto waits = [&](int peer) {
    return std::count_if(calls.begin(), calls.end(), [peer](const auto& call) {
      return call->peer == peer && call->waits() && !call->gone;
    });
  };
  const auto pick = [&](auto which) -> GateCall* {
    if (calls.empty()) return nullptr;
    const auto from = static_cast<size_t>(input.Below(static_cast<int64_t>(calls.size())));
    for (size_t i = 0; i < calls.size(); ++i) {
      GateCall* const call = calls[(from + i) % calls.size()].get();
      if (which(*call)) return call;
    }
    return nullptr;
  };
  const auto has_place = [](const GateCall& call) { return static_cast<bool>(call.place); };
  // Of peers that wait, one that got a place just now held no more than any other.
  const auto check_poorest = [&](const std::vector<int64_t>& before) {
    for (int peer = 0; peer < kPeers; ++peer) {
      if (held(peer) <= before[peer]) continue;
      for (int other = 0; other < kPeers; ++other) {
        if (waits(other) == 0) continue;
        Require(held(peer) - 1 <= held(other), "a place went to a peer that had more");
      }
    }
  };
  bool given_back = false;
  for (int events = 0; events < 300 && !input.empty(); ++events) {
    std::vector<int64_t> before;
    for (int peer = 0; peer < kPeers; ++peer) before.push_back(held(peer));
    switch (input.Byte() % 6) {
      case 0:
      case 1: {
        calls.push_back(std::make_unique<GateCall>());
        GateCall& call = *calls.back();
        call.peer = static_cast<int>(input.Below(kPeers));
        if (auto place = gate.Enter(&kPeerNames[call.peer], &call)) call.OnPlace(*std::move(place));
        break;
      }
      case 2:
        if (GateCall* const call = pick(has_place)) {
          --before[call->peer];
          call->place = MessageGate::Place();
          check_poorest(before);
        }
        break;
      case 3:
        if (GateCall* const call =
                pick([](const GateCall& one) { return one.waits() && !one.gone; })) {
          Require(gate.Withdraw(call), "a call that waits cannot withdraw");
          Require(!gate.Withdraw(call), "it withdrew twice");
          call->gone = true;
        }
        break;
      case 4:
        for (const auto& call : calls) {
          if (!call->place.Wanted()) continue;
          const bool poorer = [&] {
            for (int other = 0; other < kPeers; ++other) {
              if (waits(other) > 0 && held(other) + 2 <= held(call->peer)) return true;
            }
            return false;
          }();
          Require(poorer, "a place is wanted though nobody with fewer waits");
          call->place.GiveBack();
          given_back = true;
        }
        break;
      default:
        gate.Tick();
        given_back = false;
    }
    int64_t all = 0;
    int64_t waiting = 0;
    for (int peer = 0; peer < kPeers; ++peer) {
      all += held(peer);
      waiting += waits(peer);
    }
    for (const auto& call : calls) Require(call->answers <= 1, "a call was told twice");
    Require(all <= places, "more places are given than there are");
    Require(counters.held_back == waiting, "calls that wait are counted wrong");
    Require(waiting == 0 || all == places || given_back, "a place is free while a call waits");
  }
  // Every call gets its turn as others leave.
  gate.Tick();
  for (size_t left = calls.size(); left > 0; --left) {
    GateCall* const call = pick(has_place);
    if (call == nullptr) break;
    call->place = MessageGate::Place();
  }
  for (const auto& call : calls) Require(call->gone || !call->waits(), "a call waits for ever");
  Require(counters.held_back == 0, "something was left");
}

}  // namespace lossd::fuzz
