#include "client/python/backend.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <utility>

#include "core/exec/loss_run.h"
#include "core/exec/simd.h"
#include "lossd/status_macros.h"

namespace lossd::python {
namespace {

// How often CallOptions::stop is asked during a computation, and from which size on it takes long
// enough to be asked at all: about 10 ms.
constexpr std::chrono::milliseconds kQuestions(50);
constexpr size_t kLongBytes = 64 << 20;

// One for the process, made when it is needed: a child has none of its parent's threads. Never
// destroyed, for at the end of the process, too, its threads may be gone.
Executor& SharedExecutor() {
  static std::mutex& mutex = *new std::mutex;
  static Executor* executor = nullptr;
  static pid_t process = 0;
  const std::lock_guard lock(mutex);
  if (process != getpid()) {
    executor = new Executor;
    process = getpid();
  }
  return *executor;
}

class LocalBackend : public Backend {
 public:
  absl::StatusOr<LossResult> Compute(const LossSpec& spec, const LossInputs& inputs,
                                     const LossOutputs& into, const CallOptions& call) override {
    Executor& executor = SharedExecutor();
    if (!call.stop || inputs.predictions.bytes.size() < kLongBytes) {
      return ComputeLoss(spec, inputs, into, executor);
    }
    std::atomic<bool> stop = false;
    auto answer = std::async(std::launch::async, [&] {
      return ComputeLoss(spec, inputs, into, executor, StopToken(&stop));
    });
    while (answer.wait_for(kQuestions) != std::future_status::ready) {
      if (!stop) stop = call.stop();
    }
    return answer.get();
  }

  void Start(const LossSpec&, const LossInputs&, const LossOutputs&, const CallOptions&,
             Done done) override {
    done(absl::UnimplementedError("threads of Python's start the calls of this process"));
  }

  absl::StatusOr<ServerInfo> Info() override {
    ServerInfo info;
    info.version = LOSSD_VERSION;
    info.numerics_version = kNumericsVersion;
    info.simd_target = ActiveSimdTarget();
    info.threads = SharedExecutor().threads();
    for (const LossFacts& loss : kLossFacts) info.losses.emplace_back(loss.name);
    for (const DType dtype : kAllDTypes) {
      if (IsFloating(dtype)) info.prediction_dtypes.push_back(dtype);
      info.label_dtypes.push_back(dtype);
    }
    return info;
  }

  absl::StatusOr<bool> Healthy() override { return true; }

  bool outlives_fork() const override { return true; }
};

class RemoteBackend : public Backend {
 public:
  explicit RemoteBackend(Client client) : client_(std::move(client)) {}

  absl::StatusOr<LossResult> Compute(const LossSpec& spec, const LossInputs& inputs,
                                     const LossOutputs& into, const CallOptions& call) override {
    return client_.Compute(spec, inputs, into, call);
  }
  void Start(const LossSpec& spec, const LossInputs& inputs, const LossOutputs& into,
             const CallOptions& call, Done done) override {
    client_.ComputeAsync(spec, inputs, into, call, std::move(done));
  }
  absl::StatusOr<ServerInfo> Info() override { return client_.GetServerInfo(); }
  absl::StatusOr<bool> Healthy() override { return client_.CheckHealth(); }

  bool outlives_fork() const override { return false; }

 private:
  Client client_;
};

}  // namespace

std::shared_ptr<Backend> MakeLocalBackend() { return std::make_shared<LocalBackend>(); }

absl::StatusOr<std::shared_ptr<Backend>> MakeRemoteBackend(const std::string& target,
                                                           const ClientOptions& options) {
  LOSSD_ASSIGN_OR_RETURN(Client client, Client::Connect(target, options));
  return std::make_shared<RemoteBackend>(std::move(client));
}

}  // namespace lossd::python
