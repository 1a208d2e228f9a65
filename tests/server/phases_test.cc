// Deadlines and cancellation in each phase of a call, in one message and in a stream: the client
// gets the one or the other as its status, and nothing of the call stays at the server.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/server/open_call.h"

namespace lossd::testing {
namespace {

constexpr int64_t kMiB = 1 << 20;
constexpr char kMessage[] = "/lossd.v1.LossService/Compute";
constexpr char kStream[] = "/lossd.v1.LossService/ComputeStream";

// Probability targets of many short rows: a second of computing for few bytes.
v1::ComputeRequest Costly(bool with_bytes) {
  constexpr int64_t kRows = 6 << 20;
  v1::ComputeRequest request;
  request.mutable_spec()->mutable_softmax();
  for (v1::Tensor* tensor :
       {request.mutable_predictions(), request.mutable_class_probabilities()}) {
    tensor->set_dtype(v1::DTYPE_F16);
    tensor->add_shape(kRows);
    tensor->add_shape(2);
    if (with_bytes) tensor->set_data(std::string(kRows * 4, '\0'));
  }
  return request;
}

v1::ComputeStreamRequest Header(v1::ComputeRequest request) {
  v1::ComputeStreamRequest message;
  *message.mutable_header()->mutable_request() = std::move(request);
  return message;
}

v1::ComputeStreamRequest WholeBlock(const v1::ComputeRequest& request) {
  v1::ComputeStreamRequest message;
  v1::Box* const box = message.mutable_block()->mutable_box();
  box->set_outer_count(request.predictions().shape(0));
  box->set_inner_count(1);
  message.mutable_block()->set_predictions(request.predictions().data());
  message.mutable_block()->set_class_probabilities(request.class_probabilities().data());
  return message;
}

// A server with one thread that computes and two places for messages of unknown size.
class Phases : public ::testing::Test {
 protected:
  using Until = std::function<bool()>;
  // Brings a call into the phase; false where `over` came to hold before. May fill the server with
  // other calls, which it keeps in `others_`.
  using Reach = std::function<bool(OpenCall& call, const Until& over)>;

  // The call is given up in the phase by its client, and then by deadlines: the first of them may
  // pass too early, each of the others is twice as long. `before`: what comes before the call;
  // `also`: what holds once it is given up, while others go on.
  void EndsIn(
      const char* method, const Reach& reach, const std::function<void()>& before = [] {},
      const std::function<void()>& also = [] {}) {
    {
      before();
      OpenCall call(*server_, method);
      ASSERT_TRUE(reach(call, [] { return false; }));
      call.Cancel();
      EXPECT_EQ(call.Finish().error_code(), grpc::StatusCode::CANCELLED);
      also();
      AllIsGivenBack();
    }
    bool reached = false;
    for (absl::Duration time = absl::Milliseconds(100); !reached; time *= 2) {
      ASSERT_LT(time, absl::Minutes(1)) << "the phase was not reached in time";
      before();
      const absl::Time deadline = absl::Now() + time;
      const Until over = [deadline] { return absl::Now() >= deadline; };
      OpenCall call(*server_, method, deadline);
      reached = reach(call, over) && !over();
      WaitUntil(over);
      EXPECT_EQ(call.Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
      AllIsGivenBack();
    }
  }

  // `others_` go first.
  void AllIsGivenBack() {
    for (const auto& other : others_) other->Cancel();
    for (const auto& other : others_) EXPECT_FALSE(other->Finish().ok());
    others_.clear();
    WaitUntil([&] {
      const AdmissionCounters& counters = server_->admission();
      return server_->live_calls() == 0 && server_->loaned_output_bytes() == 0 &&
             counters.granted_bytes == 0 && counters.calls == 0 && counters.queued == 0 &&
             counters.held_back == 0;
    });
  }

  // Whether it comes to hold before `over` does.
  static bool Holds(const Until& condition, const Until& over) {
    bool holds = false;
    WaitUntil([&] { return (holds = condition()) || over(); });
    return holds;
  }

  bool Computes(OpenCall& call, const char* method, const Until& over) const {
    if (method == kMessage) {
      call.Send(Costly(true), /*last=*/true);
    } else {
      call.Send(Header(Costly(false)));
      call.Send(WholeBlock(Costly(true)));
    }
    return Holds([&] { return server_->loaned_output_bytes() > 0; }, over);
  }

  // Half of the problem.
  void SendBlock(OpenCall& call) const {
    for (const auto& part : {problem_.Header(), problem_.Weights(), problem_.Labels(),
                             problem_.Block(0, problem_.rows / 2)}) {
      call.Send(part);
    }
  }

  const AdmissionCounters& counters() const { return server_->admission(); }

  static ServerOptions OneThread() {
    ServerOptions options = AnyPort();
    options.threads = 1;
    options.memory_budget = 200 * kMiB;
    return options;
  }

  const Problem problem_{1 << 10, 6 << 10};  // 24 MiB
  const std::unique_ptr<Server> server_ = StartServer(OneThread());
  std::vector<std::unique_ptr<OpenCall>> others_;
};

// Two others that may become large are on their way.
TEST_F(Phases, AMessageThatWaitsToBeRead) {
  EndsIn(
      kMessage,
      [this](OpenCall& call, const Until& over) {
        return Holds([&] { return counters().held_back == 1; }, over);
      },
      [this] {
        for (int i = 0; i < 2; ++i) {
          others_.push_back(std::make_unique<OpenCall>(*server_, kMessage));
          WaitUntil([&] { return counters().calls == i + 1; });
        }
      },
      [this] {
        WaitUntil([&] { return counters().held_back == 0 && counters().calls == 2; });
        for (const auto& refused : counters().refused) EXPECT_EQ(refused, 0) << "it waited on";
      });
}

TEST_F(Phases, AMessageThatDoesNotCome) {
  EndsIn(kMessage, [this](OpenCall& call, const Until& over) {
    return Holds([&] { return counters().calls == 1; }, over);
  });
}

TEST_F(Phases, AStreamWhoseBlocksDoNotCome) {
  EndsIn(kStream, [this](OpenCall& call, const Until& over) {
    call.Send(Problem(64, 10).Header());
    return Holds([&] { return counters().granted_bytes > 0; }, over);
  });
}

// Another call has the only thread.
TEST_F(Phases, AMessageThatWaitsForAThread) {
  EndsIn(kMessage, [this](OpenCall& call, const Until& over) {
    others_.push_back(std::make_unique<OpenCall>(*server_, kStream));
    if (!Computes(*others_.back(), kStream, over)) return false;
    const int64_t before = counters().granted_bytes;
    call.Send(problem_.Request(), /*last=*/true);
    return Holds([&] { return counters().granted_bytes > before; }, over);
  });
}

TEST_F(Phases, AStreamThatWaitsForAThread) {
  EndsIn(kStream, [this](OpenCall& call, const Until& over) {
    others_.push_back(std::make_unique<OpenCall>(*server_, kStream));
    if (!Computes(*others_.back(), kStream, over)) return false;
    const int64_t before = counters().granted_bytes;
    SendBlock(call);
    return Holds([&] { return counters().granted_bytes > before; }, over);
  });
}

TEST_F(Phases, AMessageBeingComputed) {
  EndsIn(kMessage,
         [this](OpenCall& call, const Until& over) { return Computes(call, kMessage, over); });
}

TEST_F(Phases, AStreamBeingComputed) {
  EndsIn(kStream,
         [this](OpenCall& call, const Until& over) { return Computes(call, kStream, over); });
}

// The answer has begun to come, and is larger than what may come unread.
TEST_F(Phases, AnAnswerThatNobodyReads) {
  EndsIn(kMessage, [this](OpenCall& call, const Until& over) {
    call.Send(problem_.Request(), /*last=*/true);
    return call.AwaitAnswer();
  });
}

TEST_F(Phases, AnswersOfAStreamThatNobodyReads) {
  EndsIn(kStream, [this](OpenCall& call, const Until& over) {
    SendBlock(call);
    return call.AwaitAnswer();
  });
}

}  // namespace
}  // namespace lossd::testing
