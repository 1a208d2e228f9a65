#include "tests/faults/besieged.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "absl/strings/str_cat.h"
#include "tests/support/certificates.h"
#include "tests/support/process.h"

namespace lossd {
namespace {

constexpr char kToken[] = "0123456789abcdef0123456789abcdef";

}  // namespace

std::string Call(uint32_t stream, const char* path, const http2::Fields& more) {
  http2::Fields fields = http2::CallFields(path);
  fields.insert(fields.end(), more.begin(), more.end());
  return http2::Bytes(http2::kHeaders, http2::kEndHeaders, stream, http2::Literals(fields));
}

std::string GivenUp(uint32_t stream) {
  return http2::Bytes(http2::kReset, 0, stream, http2::Number(8));
}

std::string Greeting() {
  return absl::StrCat(http2::kPreface, http2::Settings({{http2::kHeaderTableSize, 0}}));
}

const char* NameOf(Door door) {
  return door == Door::kPlain ? "Plain" : door == Door::kTls ? "TlsWithoutToken" : "UnixSocket";
}

Besieged::Besieged(Door door, std::vector<std::string> flags) : door_(door) {
  signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to what the server has closed
  flags.emplace_back("--log-level=error");
  ClientOptions options;
  if (door == Door::kTls) {
    const Authority authority("servers");
    const Identity identity = authority.Sign(1);
    flags.push_back("--tls-cert=" + scratch_.Write("cert.pem", identity.certificate));
    flags.push_back("--tls-key=" + scratch_.Write("key.pem", identity.key));
    flags.push_back("--auth-token-file=" + scratch_.Write("tokens", kToken));
    options.token = kToken;
    options.tls = TlsOptions{.ca_file = scratch_.Write("ca.pem", authority.certificate())};
  }
  server_.emplace(std::vector<std::string>{"127.0.0.1:0", "unix:" + scratch_.Path("socket")},
                  flags);
  options_ = options;
  base_ = StateOf(pid());
  victim_ = std::thread([this] { Victim(); });
  HoldsWithin(absl::Seconds(10), [this] { return calls_ > 5; });
}

Besieged::~Besieged() {
  stop_ = true;
  victim_.join();
  EXPECT_EQ(failed_, 0) << "the victim's first failure: " << failure_;
  EXPECT_GT(calls_, 5);
  EXPECT_GT(StateOf(pid()).rss_bytes, 0) << "the server is gone";
  EXPECT_TRUE(NewcomerIsServed().ok());
}

std::unique_ptr<Line> Besieged::Attack(int peer) const {
  const std::string& address = server_->addresses()[door_ == Door::kUnix ? 1 : 0];
  return std::make_unique<Line>(address, peer, door_ == Door::kTls ? tls_.get() : nullptr);
}

std::unique_ptr<Line> Besieged::Plain(int peer) const {
  return std::make_unique<Line>(server_->addresses()[0], peer, nullptr);
}

absl::Status Besieged::NewcomerIsServed() const {
  absl::StatusOr<Client> client = Client::Connect(server_->addresses()[0], options_);
  if (!client.ok()) return client.status();
  return call_.Try(*client, TransferMode::kUnary, absl::Seconds(4));
}

void Besieged::AwaitCalls(int count) {
  const int until = calls_ + count;
  HoldsWithin(absl::Seconds(20), [&] { return calls_ >= until; });
}

void Besieged::Victim() {
  Client client = *Client::Connect(server_->addresses()[0], options_);
  while (!stop_) {
    const absl::Status status = call_.Try(client, TransferMode::kUnary);
    if (!status.ok() && failed_++ == 0) failure_ = status.ToString();
    ++calls_;
  }
}

int64_t SendUntilClosed(Line& line, const std::string& piece, int64_t most) {
  int64_t sent = 0;
  while (sent < most && line.Send(piece)) {
    sent += static_cast<int64_t>(piece.size());
    line.Read(absl::ZeroDuration());
  }
  return sent;
}

}  // namespace lossd
