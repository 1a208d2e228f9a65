// A call is not over before the transport has let go of the caller's memory.
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "client/call/compute_call.h"
#include "client/call/driver.h"
#include "client/testing/local_transport.h"
#include "protos/wire/writer.h"
#include "tests/client/doubling_fixture.h"

namespace lossd {
namespace {

// Keeps every message it is sent, as a connection would that does not drain.
class Hoarder : public LocalService {
 public:
  explicit Hoarder(std::vector<Script> scripts) : service_(std::move(scripts)) {}

  absl::StatusOr<wire::Message> Unary(const std::string& method,
                                      const wire::Message& request) override {
    hoard_.push_back(request);
    return service_.Unary(method, request);
  }
  std::unique_ptr<StreamPeer> Stream(const std::string& method) override {
    return std::make_unique<Peer>(*this, service_.Stream(method));
  }
  std::vector<wire::Message>& hoard() { return hoard_; }
  size_t calls() const { return service_.records().size(); }

 private:
  struct Peer : StreamPeer {
    Peer(Hoarder& hoarder_in, std::unique_ptr<StreamPeer> inner_in)
        : hoarder(hoarder_in), inner(std::move(inner_in)) {}
    void OnMessage(const wire::Message& message, bool last, StreamReply& reply) override {
      hoarder.hoard_.push_back(message);
      inner->OnMessage(message, last, reply);
    }
    Hoarder& hoarder;
    std::unique_ptr<StreamPeer> inner;
  };

  DoublingService service_;
  std::vector<wire::Message> hoard_;
};

// Gives the hoard up when it has been asked to often enough.
class ReclaimingTransport : public LocalTransport {
 public:
  explicit ReclaimingTransport(std::shared_ptr<Hoarder> hoarder)
      : LocalTransport(hoarder), hoarder_(std::move(hoarder)) {}
  void Reclaim() override {
    if (++reclaims_ == gives_up_after_) hoarder_->hoard().clear();
  }
  int reclaims() const { return reclaims_; }
  void set_gives_up_after(int reclaims) { gives_up_after_ = reclaims; }

 private:
  const std::shared_ptr<Hoarder> hoarder_;
  int reclaims_ = 0;
  int gives_up_after_ = 0;
};

class Lending : public testing::TestWithParam<TransferMode> {
 protected:
  // Starts a call and runs it until nothing more can happen.
  void Start(std::vector<Script> scripts) {
    hoarder_ = std::make_shared<Hoarder>(std::move(scripts));
    transport_ = std::make_unique<ReclaimingTransport>(hoarder_);
    transport_->set_gives_up_after(gives_up_after_);
    driver_ = std::make_unique<Driver>(*transport_);
    LossInputs inputs;
    inputs.predictions = TensorView::Of<float>(predictions_, {kOuter, kClasses, kInner});
    inputs.targets = TensorView::Of<int64_t>(labels_, {kOuter, kInner});
    call_.emplace(LossSpec{}, inputs, LossOutputs{.gradient = BytesOf(absl::MakeSpan(gradient_))},
                  ClientOptions{.block_bytes = kBlockBytes}, CallOptions{.mode = GetParam()});
    const absl::Time deadline = transport_->Now() + absl::Hours(1);
    call_->Start(*driver_, Replay({}, deadline, [] { return 0.5; }),
                 [this](absl::StatusOr<LossResult> answer) { answer_ = std::move(answer); });
    Run();
  }

  void Run() {
    for (int i = 0; i < 400 && !answer_.has_value(); ++i) driver_->RunOnce();
  }

  // Large enough that all of it is lent and nothing copied.
  static constexpr int64_t kOuter = 6, kClasses = 4, kInner = 1000;
  static constexpr int64_t kCount = kOuter * kClasses * kInner;
  static constexpr int64_t kBlockBytes = 2 * kClasses * kInner * 4;
  static_assert(kBlockBytes > wire::kCopiedBytes);

  std::vector<float> predictions_ = std::vector<float>(kCount, 1.0f);
  std::vector<int64_t> labels_ = std::vector<int64_t>(kOuter * kInner, 1);
  std::vector<float> gradient_ = std::vector<float>(kCount);
  std::shared_ptr<Hoarder> hoarder_;
  int gives_up_after_ = 0;  // calls of Reclaim; 0: never
  std::unique_ptr<ReclaimingTransport> transport_;
  std::unique_ptr<Driver> driver_;
  std::optional<ComputeCall> call_;
  std::optional<absl::StatusOr<LossResult>> answer_;
};

TEST_P(Lending, ASuccessWaitsForTheLastPiece) {
  Start({{}});
  ASSERT_FALSE(hoarder_->hoard().empty());
  while (!hoarder_->hoard().empty()) {
    EXPECT_FALSE(answer_.has_value());
    hoarder_->hoard().erase(hoarder_->hoard().begin());
    Run();
  }
  ASSERT_TRUE(answer_.has_value());
  EXPECT_EQ((*answer_)->loss_sum, kCount);
}

TEST_P(Lending, AnErrorWaitsToo) {
  Start({{.failure = absl::InvalidArgumentError("no"), .blocks_before_failure = 1}});
  EXPECT_FALSE(answer_.has_value());
  hoarder_->hoard().clear();
  Run();
  ASSERT_TRUE(answer_.has_value());
  EXPECT_EQ(answer_->status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(Lending, AReplayWaitsForTheAttemptBefore) {
  Start({{.failure = absl::UnavailableError("down"), .blocks_before_failure = 1}, {}});
  EXPECT_EQ(hoarder_->calls(), 1u);
  hoarder_->hoard().clear();
  Run();
  EXPECT_EQ(hoarder_->calls(), 2u);
  hoarder_->hoard().clear();
  Run();
  EXPECT_TRUE(answer_.has_value());
}

TEST_P(Lending, WhatIsHeldIsAskedForUntilItComes) {
  gives_up_after_ = 3;
  Start({{.failure = absl::InvalidArgumentError("no"), .blocks_before_failure = 1}});
  EXPECT_EQ(transport_->reclaims(), 3);
  EXPECT_TRUE(answer_.has_value());
  const absl::Time over = transport_->Now();
  driver_->At(over + absl::Seconds(9), [] {});
  driver_->RunOnce();
  driver_->RunOnce();
  EXPECT_EQ(transport_->reclaims(), 3);
}

INSTANTIATE_TEST_SUITE_P(Modes, Lending,
                         testing::Values(TransferMode::kUnary, TransferMode::kStream));

}  // namespace
}  // namespace lossd
