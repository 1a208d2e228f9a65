#include "tests/faults/storm.h"

#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/support/process.h"

namespace lossd {
namespace {

using http2::Frame;
using oracle::Random;

constexpr int kStrangers = 3;
constexpr int kPeers = 6;        // addresses that each stranger comes from
constexpr size_t kMostOpen = 4;  // connections that a stranger leaves open behind it
constexpr int64_t kFirstWindow = 65535;

// How a connection begins.
struct Greeting {
  const char* name;
  int weight;
  uint32_t window;  // of the answers to each call
  bool acknowledges;
};
constexpr Greeting kGreetings[] = {
    {"in order", 12, 1 << 20, true},
    {"SETTINGS never acknowledged", 5, 1 << 20, false},
    {"takes no answers", 3, 0, true},
    {"takes them byte by byte", 2, 1, true},
};

// What comes in place of HTTP/2, or of TLS.
struct Noise {
  const char* name;
  int weight;
  std::string (*make)(Random&, SSL_CTX*);
};
constexpr Noise kNoises[] = {
    {"silence", 1, [](Random&, SSL_CTX*) { return std::string(); }},
    {"bytes", 1, [](Random& random, SSL_CTX*) { return std::string(random.Below(100), 'n'); }},
    {"part of a preface", 1,
     [](Random& random, SSL_CTX*) {
       return std::string(http2::kPreface.substr(random.Below(24)));
     }},
    {"part of a handshake", 2,
     [](Random& random, SSL_CTX* tls) {
       const std::string hello = ClientHello(tls);
       return hello.substr(0, random.Below(static_cast<int64_t>(hello.size()) + 1));
     }},
};

// How a connection ends.
enum class Ending { kClose, kReset, kHalfClose, kLeaveOpen };

// Frames of the connection itself, between calls.
std::string ConnectionFrame(Random& random) {
  switch (random.Below(5)) {
    case 0:
      return http2::Bytes(http2::kPing, http2::kNone, 0, std::string(8, 'p'));
    case 1:
      return http2::Settings({{http2::kInitialWindowSize, 1 << random.Below(20)}});
    case 2:
      return http2::Bytes(http2::kPriority, http2::kNone, 1, std::string(5, '\0'));
    case 3:
      return http2::Bytes(77, http2::kNone, 0, "unknown");
    default:
      return http2::Bytes(http2::kWindowUpdate, http2::kNone, 0, http2::Number(1 << 20));
  }
}

std::string ResetFrame(uint32_t stream, Random& random) {
  return http2::Bytes(http2::kReset, http2::kNone, stream,
                      http2::Number(random.Pick<uint32_t>({0, 5, 8, 99})));
}

}  // namespace

// One stranger's connection, from its greeting to its end.
class Storm::Stranger {
 public:
  Stranger(const Storm& storm, const std::string& address, int peer, bool tls, Random& random)
      : storm_(storm), random_(random), line_(address, peer, tls ? storm.tls_.get() : nullptr) {}

  bool open() const { return line_.open(); }

  // Calls, in one packet or many, and listens now and then.
  void Converse() {
    const Greeting& greeting = PickRow<Greeting>(kGreetings, random_);
    acknowledges_ = greeting.acknowledges;
    out_ = absl::StrCat(http2::kPreface,
                        http2::Settings({{http2::kHeaderTableSize, 0},
                                         {http2::kInitialWindowSize, greeting.window}}));
    for (int64_t calls = 1 + random_.Below(60); calls > 0 && open() && !storm_.stop_; --calls) {
      Call();
      if (random_.OneIn(8)) out_ += ConnectionFrame(random_);
      if (out_.size() > (32 << 10) || random_.OneIn(3)) Flush();
      if (random_.OneIn(4)) Listen();
    }
    Flush();
    if (random_.OneIn(2)) Listen();
  }

  void Babble() { line_.Send(PickRow<Noise>(kNoises, random_).make(random_, storm_.tls_.get())); }

  // False: it is to be left open.
  bool End() {
    switch (random_.Pick(
        {Ending::kClose, Ending::kReset, Ending::kReset, Ending::kHalfClose, Ending::kLeaveOpen})) {
      case Ending::kClose:
        return true;
      case Ending::kReset:
        line_.Reset();
        return true;
      case Ending::kHalfClose:
        line_.HalfClose();
        Listen();
        return true;
      case Ending::kLeaveOpen:
        return !open();
    }
    return true;
  }

  const std::map<std::string, int64_t>& begun() const { return begun_; }
  const std::map<int, int64_t>& ended() const { return ended_; }

 private:
  void Call() {
    const StormRow& row = PickRow(StormRows(), random_);
    ++begun_[row.name];
    const StormCall call = row.make(random_);
    http2::Fields fields = http2::CallFields(call.path);
    for (auto& field : StormMetadata(random_, call.body.size())) fields.push_back(std::move(field));
    AddToken(fields);
    const uint32_t stream = next_;
    next_ += 2;
    out_ += http2::Bytes(http2::kHeaders, http2::kEndHeaders, stream, http2::Literals(fields));
    SendBody(stream, call.body);
    const int64_t end = random_.Below(20);
    if (end < 12) out_ += http2::Bytes(http2::kData, http2::kEndStream, stream, "");
    if (end >= 12 && end < 17) out_ += ResetFrame(stream, random_);  // else the call goes on
    if (random_.OneIn(4)) out_ += ResetFrame(2 * random_.Below((next_ - 1) / 2) + 1, random_);
  }

  // All of it or a part, in pieces of any size, as far as the window of the connection goes.
  void SendBody(uint32_t stream, absl::string_view body) {
    if (random_.OneIn(4))
      body = body.substr(0, random_.Below(static_cast<int64_t>(body.size()) + 1));
    body = body.substr(0, std::max<int64_t>(window_, 0));
    window_ -= static_cast<int64_t>(body.size());
    const size_t piece = body.size() < 300 ? random_.Pick<size_t>({1, 100, 16384})
                                           : random_.Pick<size_t>({1000, 16384, 16384});
    for (; !body.empty(); body.remove_prefix(std::min(piece, body.size()))) {
      out_ += http2::Bytes(http2::kData, http2::kNone, stream, body.substr(0, piece));
    }
  }

  void AddToken(http2::Fields& fields) {
    const int64_t which = random_.Below(8);
    if (which == 0) return;
    const std::string& token = which == 1 ? "wrong" : storm_.target_.token;
    if (!token.empty()) fields.emplace_back("authorization", absl::StrCat("Bearer ", token));
  }

  void Flush() {
    line_.Send(out_);
    out_.clear();
  }

  void Listen() {
    in_ += line_.Read(absl::Milliseconds(random_.Pick({0, 0, 2, 20})));
    constexpr size_t kHeader = 9;
    size_t at = 0;
    while (in_.size() >= at + kHeader) {
      const size_t length = http2::NumberAt(in_, at) >> 8;
      if (in_.size() < at + kHeader + length) break;
      Hear({static_cast<uint8_t>(in_[at + 3]), static_cast<uint8_t>(in_[at + 4]),
            http2::NumberAt(in_, at + 5), in_.substr(at + kHeader, length)});
      at += kHeader + length;
    }
    in_.erase(0, at);
  }

  void Hear(const Frame& frame) {
    const bool ack = (frame.flags & http2::kAck) != 0;
    if (frame.type == http2::kSettings && !ack && acknowledges_) {
      out_ += http2::Bytes(http2::kSettings, http2::kAck, 0, "");
    } else if (frame.type == http2::kPing && !ack && random_.OneIn(2)) {
      out_ += http2::Bytes(http2::kPing, http2::kAck, 0, frame.payload);
    } else if (frame.type == http2::kWindowUpdate && frame.stream == 0) {
      window_ += http2::NumberAt(frame.payload, 0);
    } else if (frame.type == http2::kHeaders) {
      for (const auto& [name, value] : http2::ReadLiterals(frame.payload)) {
        if (name == "grpc-status") ++ended_[std::atoi(value.c_str())];
      }
    }
  }

  const Storm& storm_;
  Random& random_;
  Line line_;
  bool acknowledges_ = true;
  std::string out_;
  std::string in_;
  uint32_t next_ = 1;
  int64_t window_ = kFirstWindow;
  std::map<std::string, int64_t> begun_;
  std::map<int, int64_t> ended_;
};

Storm::Storm(const StormTarget& target) : target_(target), tls_(ClientTls()) {
  signal(SIGPIPE, SIG_IGN);  // of OpenSSL's writes
  std::printf("  LOSSD_TEST_SEED=%llu\n", static_cast<unsigned long long>(oracle::TestSeed()));
  for (int i = 0; i < kStrangers; ++i) threads_.emplace_back([this, i] { Attack(i); });
  threads_.emplace_back([this] { Kill(); });
}

Storm::~Storm() {
  if (!threads_.empty()) Stop();
}

void Storm::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  over_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  const auto pair = absl::PairFormatter(" ");
  std::printf("  on %lld connections: %s\n  statuses: %s; %lld clients killed\n",
              static_cast<long long>(connections_), absl::StrJoin(begun_, ", ", pair).c_str(),
              absl::StrJoin(ended_, ", ", pair).c_str(), static_cast<long long>(killed_));
}

void Storm::Attack(int number) {
  Random random(static_cast<uint64_t>(number));
  std::deque<std::unique_ptr<Stranger>> left;
  while (!stop_) {
    const bool health = random.OneIn(12);
    const std::string& address =
        health ? target_.health_address
               : target_.addresses[random.Below(static_cast<int64_t>(target_.addresses.size()))];
    const bool noise = random.OneIn(12);
    const bool tls = !target_.ca_file.empty() && !health && !noise;
    const int peer = static_cast<int>(2 + number * kPeers + random.Below(kPeers));
    auto stranger = std::make_unique<Stranger>(*this, address, peer, tls, random);
    if (!stranger->open()) {
      Pause(absl::Milliseconds(5));  // the server is being restarted, or full
      continue;
    }
    if (noise) {
      stranger->Babble();
    } else {
      stranger->Converse();
    }
    Note(*stranger);
    if (!stranger->End()) left.push_back(std::move(stranger));
    if (left.size() > kMostOpen) left.pop_front();
  }
}

void Storm::Kill() {
  Random random(1000);
  const std::string all = absl::StrJoin(target_.addresses, ",");
  do {
    Process client({LOSSD_STORM_CLIENT, all, target_.ca_file, target_.token_file});
    const bool go_on = Pause(absl::Milliseconds(random.Below(400)));
    client.Signal(SIGKILL);
    client.Wait();
    ++killed_;
    if (!go_on) return;
  } while (!stop_);
}

bool Storm::Pause(absl::Duration time) {
  std::unique_lock lock(mutex_);
  return !over_.wait_for(lock, absl::ToChronoMilliseconds(time), [this] { return stop_.load(); });
}

void Storm::Note(const Stranger& stranger) {
  ++connections_;
  const std::lock_guard lock(mutex_);
  for (const auto& [row, count] : stranger.begun()) begun_[row] += count;
  for (const auto& [status, count] : stranger.ended()) ended_[status] += count;
}

int64_t Storm::ended(int status) const {
  const std::lock_guard lock(mutex_);
  const auto found = ended_.find(status);
  return found == ended_.end() ? 0 : found->second;
}

int64_t Storm::begun(const std::string& row) const {
  const std::lock_guard lock(mutex_);
  const auto found = begun_.find(row);
  return found == begun_.end() ? 0 : found->second;
}

}  // namespace lossd
