#include "tests/faults/sentinel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

namespace lossd {
namespace {

constexpr absl::Duration kPause = absl::Milliseconds(3);

ClientOptions OneConnection(ClientOptions options) {
  options.channels = 1;
  options.block_bytes = 100'000;
  return options;
}

}  // namespace

absl::Status KnownCall::Try(Client& client, TransferMode mode, absl::Duration timeout) const {
  const LossInputs inputs = problem_.Inputs();
  std::vector<float> gradient(problem_.gradient.size());
  const auto result =
      client.Compute(LossSpec{}, inputs, {.gradient = BytesOf<float>(absl::MakeSpan(gradient))},
                     {.timeout = timeout, .mode = mode});
  if (!result.ok()) return result.status();
  const size_t bytes = gradient.size() * sizeof(float);
  if (std::memcmp(gradient.data(), problem_.gradient.data(), bytes) != 0 ||
      result->loss != problem_.result.loss || !(result->exact == problem_.result.exact)) {
    return absl::DataLossError("the answer differs from the core's");
  }
  return absl::OkStatus();
}

Client Sentinel::ConnectOnce() const { return *Client::Connect(server_.address(), options_); }

Sentinel::Sentinel(ServerProcess& server, const ClientOptions& options)
    : server_(server),
      pid_(server.process().pid()),
      sanitized_(IsSanitized(pid_)),
      options_(OneConnection(options)),
      client_(ConnectOnce()) {
  constexpr int kWarm = 20;
  for (int i = 0; i < kWarm; ++i) CallOnce(i);
  base_ = StateOf(pid_);
  base_descriptors_ = DescriptorsOf(pid_);
  victim_ = std::thread([this] { Victim(); });
}

Sentinel::~Sentinel() {
  stop_ = true;
  if (victim_.joinable()) victim_.join();
}

void Sentinel::CallOnce(int number) {
  const KnownCall& call = number % 2 == 0 ? small_ : large_;
  const auto mode = number % 2 == 0 ? TransferMode::kUnary : TransferMode::kStream;
  const absl::Time begin = absl::Now();
  const absl::Status status = call.Try(client_, mode);
  const std::lock_guard lock(mutex_);
  slowest_ = std::max(slowest_, absl::Now() - begin);
  if (absl::IsDataLoss(status)) ++wrong_;
  if (!status.ok()) failures_.push_back(absl::StrCat("call ", number, ": ", status.ToString()));
}

void Sentinel::Victim() {
  while (!stop_) {
    CallOnce(calls_);
    ++calls_;
    absl::SleepFor(kPause);
  }
}

int64_t Sentinel::grown_bytes() const {
  return sanitized_ ? 0 : StateOf(pid_).rss_bytes - base_.rss_bytes;
}

void Sentinel::AwaitCalls(int count) {
  const int wanted = calls_ + count;
  EXPECT_TRUE(HoldsWithin(absl::Seconds(60), [&] { return calls_ >= wanted; }))
      << "the victim is not answered";
}

std::string Sentinel::NewDescriptors() const {
  const std::vector<std::string> now = DescriptorsOf(pid_);
  std::vector<std::string> added;
  std::set_difference(now.begin(), now.end(), base_descriptors_.begin(), base_descriptors_.end(),
                      std::back_inserter(added));
  return absl::StrJoin(added, ", ");
}

absl::Duration Sentinel::slowest() const {
  const std::lock_guard lock(mutex_);
  return slowest_;
}

int Sentinel::failed() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(failures_.size());
}

void Sentinel::Check(absl::Duration settle) {
  AwaitCalls(2);
  stop_ = true;
  victim_.join();
  EXPECT_LE(failures_.size(), allowed_)
      << "of " << calls_
      << " calls of the victim; the first: " << (failures_.empty() ? "" : failures_.front());
  EXPECT_EQ(wrong_, 0) << "answers of the victim that differ from the core's";
  ASSERT_GT(StateOf(pid_).rss_bytes, 0) << "the server is gone";
  EXPECT_TRUE(HoldsWithin(
      settle, [this] { return grown_descriptors() <= 0 && grown_bytes() <= most_grown_; }))
      << "after " << settle << " the server holds " << grown_bytes() << " bytes more (at most "
      << most_grown_ << ") and " << grown_descriptors()
      << " descriptors more: " << NewDescriptors();
  Client other = ConnectOnce();
  EXPECT_TRUE(other.CheckHealth().value_or(false)) << "a new connection is not served";
  EXPECT_EQ(small_.Try(other, TransferMode::kUnary), absl::OkStatus());
  EXPECT_EQ(large_.Try(other, TransferMode::kStream), absl::OkStatus());
}

}  // namespace lossd
