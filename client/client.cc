#include "lossd/client.h"

#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/call/async_engine.h"
#include "client/call/attempts.h"
#include "client/call/compute_call.h"
#include "client/call/driver.h"
#include "client/call/replay.h"
#include "client/grpc/grpc_transport.h"
#include "client/shared_memory/shared_regions.h"
#include "client/transport/transport.h"
#include "lossd/status_macros.h"
#include "protos/wire/info_codec.h"

namespace lossd {
namespace {

constexpr int kMaxChannels = 64;

constexpr absl::string_view kUnix = "unix:";

// The largest answer of a server about itself, with room for what later versions may add.
constexpr int64_t kSmallAnswerBytes = 64 << 10;

absl::Status CheckOptions(const ClientOptions& options) {
  const auto refuse = [](absl::string_view name, const auto& value, absl::string_view wanted) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is ", value, "; wanted ", wanted));
  };
  const RetryPolicy& retry = options.retry;
  if (options.timeout <= absl::ZeroDuration()) {
    return refuse("timeout", absl::FormatDuration(options.timeout), "a positive duration");
  }
  if (retry.max_attempts < 1) return refuse("retry.max_attempts", retry.max_attempts, "at least 1");
  if (retry.initial_backoff < absl::ZeroDuration()) {
    return refuse("retry.initial_backoff", absl::FormatDuration(retry.initial_backoff),
                  "no negative duration");
  }
  if (retry.max_backoff < retry.initial_backoff) {
    return refuse("retry.max_backoff", absl::FormatDuration(retry.max_backoff),
                  "at least retry.initial_backoff");
  }
  if (!(retry.multiplier >= 1)) return refuse("retry.multiplier", retry.multiplier, "at least 1");
  if (options.channels < 1 || options.channels > kMaxChannels) {
    return refuse("channels", options.channels, absl::StrCat("1..", kMaxChannels));
  }
  if (options.unary_limit_bytes < 0) {
    return refuse("unary_limit_bytes", options.unary_limit_bytes, "at least 0");
  }
  if (!options.shared_memory.empty() && !absl::StartsWith(options.shared_memory, kUnix)) {
    return refuse("shared_memory", options.shared_memory, "unix:/path");
  }
  if (options.block_bytes < 1) return refuse("block_bytes", options.block_bytes, "at least 1");
  return absl::OkStatus();
}

double Uniform() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(generator);
}

}  // namespace

// A call of ComputeAsync. Deletes itself when it is over.
struct AsyncCall {
  void Start(Driver& driver, std::function<void()> then) {
    ended = std::move(then);
    compute.Start(driver, std::move(replay), [this](absl::StatusOr<LossResult> result) {
      const std::unique_ptr<AsyncCall> self(this);
      done(std::move(result));
      ended();
    });
  }

  ComputeCall compute;
  Replay replay;
  std::function<void(absl::StatusOr<LossResult>)> done;
  std::function<void()> ended = {};
};

struct Client::Impl {
  Impl(std::shared_ptr<Transport> transport_in, const ClientOptions& options_in)
      : options(options_in), transport(std::move(transport_in)), engine(transport) {
    if (options.shared_memory.empty()) return;
    regions = std::make_unique<SharedRegions>(options.shared_memory.substr(kUnix.size()));
  }

  absl::Time DeadlineOf(const CallOptions& call) const {
    const bool given = call.timeout != absl::ZeroDuration();
    return transport->Now() + (given ? call.timeout : options.timeout);
  }

  Replay ReplayUntil(absl::Time deadline) const { return {options.retry, deadline, Uniform}; }

  // Runs one call on the calling thread: `start` gets a driver and where to leave the answer.
  template <class T, class Start>
  T RunHere(Start start) {
    std::unique_ptr<Driver> driver = TakeDriver();
    std::optional<T> answer;
    start(*driver, [&answer](T value) { answer.emplace(std::move(value)); });
    while (!answer.has_value()) driver->RunOnce();
    const std::lock_guard lock(mutex);
    idle_drivers.push_back(std::move(driver));
    return *std::move(answer);
  }

  std::unique_ptr<Driver> TakeDriver() {
    const std::lock_guard lock(mutex);
    if (idle_drivers.empty()) return std::make_unique<Driver>(*transport);
    std::unique_ptr<Driver> driver = std::move(idle_drivers.back());
    idle_drivers.pop_back();
    return driver;
  }

  // One small message each way, on the calling thread.
  absl::StatusOr<wire::Message> Exchange(const std::string& method, const grpc::ByteBuffer& request,
                                         Replay replay) {
    using Answer = absl::StatusOr<wire::Message>;
    const Loans none;
    std::optional<Attempts> attempts;
    wire::Message answer;
    return RunHere<Answer>([&](Driver& driver, std::function<void(Answer)> leave) {
      attempts.emplace(driver, std::move(replay));
      attempts->Run(
          none,
          [&](Attempts::Report report) {
            driver.transport().Unary(driver.queue(),
                                     {method, attempts->deadline(), kSmallAnswerBytes}, request,
                                     [&answer, report = std::move(report)](Answer got) {
                                       const absl::Status status = got.status();
                                       if (status.ok()) answer = *std::move(got);
                                       report(status);
                                     });
          },
          [&answer, leave = std::move(leave)](const absl::Status& status) {
            leave(status.ok() ? Answer(std::move(answer)) : Answer(status));
          });
    });
  }

  const ClientOptions options;
  const std::shared_ptr<Transport> transport;
  std::unique_ptr<SharedRegions> regions;  // null: no memory is shared
  std::mutex mutex;
  std::vector<std::unique_ptr<Driver>> idle_drivers;  // as many as there were calls at once
  AsyncEngine engine;
};

absl::StatusOr<Client> Client::Connect(const std::string& target, const ClientOptions& options) {
  LOSSD_RETURN_IF_ERROR(CheckOptions(options));
  LOSSD_ASSIGN_OR_RETURN(std::shared_ptr<Transport> transport, MakeGrpcTransport(target, options));
  return Client(std::move(transport), options);
}

Client::Client(std::shared_ptr<Transport> transport, const ClientOptions& options)
    : impl_(std::make_shared<Impl>(std::move(transport), options)) {}

absl::StatusOr<LossResult> Client::Compute(const LossSpec& spec, const LossInputs& inputs,
                                           const LossOutputs& into, const CallOptions& call) {
  ComputeCall compute(spec, inputs, into, impl_->options, call, impl_->regions.get());
  Replay replay = impl_->ReplayUntil(impl_->DeadlineOf(call));
  return impl_->RunHere<absl::StatusOr<LossResult>>([&](Driver& driver, ComputeCall::Done leave) {
    compute.Start(driver, std::move(replay), std::move(leave));
  });
}

void Client::ComputeAsync(const LossSpec& spec, const LossInputs& inputs, const LossOutputs& into,
                          const CallOptions& call,
                          std::function<void(absl::StatusOr<LossResult>)> done) {
  auto* const started =
      new AsyncCall{ComputeCall(spec, inputs, into, impl_->options, call, impl_->regions.get()),
                    impl_->ReplayUntil(impl_->DeadlineOf(call)), std::move(done)};
  impl_->engine.Submit([started](Driver& driver, std::function<void()> ended) {
    started->Start(driver, std::move(ended));
  });
}

std::future<absl::StatusOr<LossResult>> Client::ComputeAsync(const LossSpec& spec,
                                                             const LossInputs& inputs,
                                                             const LossOutputs& into,
                                                             const CallOptions& call) {
  const auto promise = std::make_shared<std::promise<absl::StatusOr<LossResult>>>();
  ComputeAsync(spec, inputs, into, call, [promise](absl::StatusOr<LossResult> result) {
    promise->set_value(std::move(result));
  });
  return promise->get_future();
}

absl::StatusOr<ServerInfo> Client::GetServerInfo(const CallOptions& call) {
  LOSSD_ASSIGN_OR_RETURN(const wire::Message answer,
                         impl_->Exchange(kServerInfoMethod, wire::EncodeServerInfoRequest(),
                                         impl_->ReplayUntil(impl_->DeadlineOf(call))));
  return wire::DecodeServerInfo(answer);
}

absl::StatusOr<bool> Client::CheckHealth(const std::string& service, const CallOptions& call) {
  // Asked once: a probe wants to know how it is now.
  const RetryPolicy once{.max_attempts = 1};
  LOSSD_ASSIGN_OR_RETURN(const wire::Message answer,
                         impl_->Exchange(kHealthCheckMethod, wire::EncodeHealthRequest(service),
                                         Replay(once, impl_->DeadlineOf(call), Uniform)));
  return wire::DecodeHealthResponse(answer);
}

}  // namespace lossd
