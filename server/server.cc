#include "server/server.h"

#include <grpc/compression.h>
#include <grpc/grpc.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/exec/loss_run.h"
#include "core/exec/simd.h"
#include "core/flags/values.h"
#include "core/system/usable_threads.h"
#include "lossd/losses.h"
#include "lossd/outputs.h"
#include "lossd/status_macros.h"
#include "server/admission/connection_account.h"
#include "server/admission/memory_limit.h"
#include "server/calls/accept.h"
#include "server/calls/environment.h"
#include "server/control/control_service.h"
#include "server/control/health_state.h"
#include "server/endpoints.h"
#include "server/goaway.h"
#include "server/listen/listen_address.h"
#include "server/metrics/collector.h"
#include "server/metrics/metrics_server.h"
#include "server/shared_memory/region_listener.h"
#include "server/shared_memory/region_table.h"
#include "server/trimmer.h"

namespace lossd {
namespace {

// Threads that wait for events. gRPC lets one thread at a time wait on the sockets; a second goes
// on waiting while the first handles what came. More would only take cores from computing, which
// has threads of its own.
constexpr int kMaxPollers = 2;

// Calls of each method that are waited for at once: how many may begin between two turns of the
// polling threads without queueing inside gRPC.
constexpr int kAcceptDepth = 8;

constexpr int kMaxFrameBytes = 1 << 20;

// Idle memory: outlasts the pauses between the steps of a training run, then goes back.
constexpr int64_t kMaxIdleOutputBytes = int64_t{512} << 20;

// Health checks, reflection and unknown methods: places of their own, so that neither they nor the
// calls that compute take those of the others. A watch keeps its place.
constexpr CallLimits kControlCalls = {.calls = 4096,
                                      .calls_per_peer = 1024,
                                      .calls_per_connection = 128,
                                      .starts_per_second = 10'000};

// Of the memory, what connections may bring that no call explains: gRPC makes up to 32 times as
// much of small headers.
constexpr int64_t kUnexplainedPart = 128;
constexpr int64_t kLeastUnexplained = int64_t{8} << 20;

// After the last call: time for connections to be closed in order.
constexpr std::chrono::milliseconds kLinger{500};

absl::Status CheckLimits(const wire::Limits& limits) {
  struct Row {
    const char* name;
    int64_t value;
    SizeRange range;
  };
  for (const Row& row : {Row{"max_unary_bytes", limits.max_unary_bytes, kMessageBytes},
                         Row{"max_block_bytes", limits.max_block_bytes, kMessageBytes},
                         Row{"max_side_bytes", limits.max_side_bytes, kTensorBytes},
                         Row{"max_tensor_bytes", limits.max_tensor_bytes, kTensorBytes}}) {
    if (row.value < row.range.least || row.value > row.range.most) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s is %d; wanted %d..%d", row.name, row.value, row.range.least, row.range.most));
    }
  }
  return absl::OkStatus();
}

// The names that a request may use.
void AddVocabulary(ServerInfo& info) {
  ForEachLoss([&info]<class L>(const L&) {
    const auto add = [&info](std::string_view option) {
      info.options.push_back(absl::StrFormat("%s.%s", LossRow<L>::kName, option));
    };
    ForEachOption<L>([&]<class T>(const Option<L, T>& option) {
      if constexpr (kIsOneOf<T>) {
        ForEachMember<T>([&]<class M>(const M&) {
          add(LossRow<M>::kName);
          ForEachOption<M>([&](const auto& inner) {
            add(absl::StrFormat("%s.%s", LossRow<M>::kName, inner.name));
          });
        });
      } else {
        add(option.name);
      }
    });
  });
  for (const TensorFacts& row : kTensorRows<TensorDesc>) info.tensors.emplace_back(row.name);
  for (const OutputFacts& row : kOutputRows<bool>) info.outputs.emplace_back(row.name);
  info.features = {"refuses_unknown_fields", "normalization_without_weights", "shared_memory"};
}

ServerInfo InfoOf(const wire::Limits& limits, const Executor& executor) {
  ServerInfo info;
  info.version = LOSSD_VERSION;
  info.numerics_version = kNumericsVersion;
  info.simd_target = ActiveSimdTarget();
  info.threads = executor.threads();
  for (const LossFacts& loss : kLossFacts) info.losses.emplace_back(loss.name);
  for (const DType dtype : kAllDTypes) {
    if (IsFloating(dtype)) info.prediction_dtypes.push_back(dtype);
    info.label_dtypes.push_back(dtype);
  }
  info.max_unary_bytes = limits.max_unary_bytes;
  info.max_block_bytes = limits.max_block_bytes;
  info.max_side_bytes = limits.max_side_bytes;
  info.max_tensor_bytes = limits.max_tensor_bytes;
  AddVocabulary(info);
  return info;
}

// What gRPC keeps for the whole process. Its last grpc_shutdown waits for a helper thread that
// polls on behalf of large writes, in turns of 10 s, and so would hold up the exit of a server that
// is done; it is never reached.
void StartGrpcOnce() {
  static std::once_flag once;
  std::call_once(once, grpc_init);
}

void SetChannelArguments(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kMaxFrameBytes);
  // gRPC compares a message with a limit when all of it has come, and then says neither why nor
  // what would do instead. So whoever takes a message compares it.
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  // Tensors do not compress, and gRPC would inflate a message without any bound.
  for (const grpc_compression_algorithm algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

}  // namespace

struct Server::Impl {
  explicit Impl(const ServerOptions& given)
      : options(given),
        executor(given.threads),
        ledger({.all = std::max(kLeastUnexplained, MemoryLimit() / kUnexplainedPart)}),
        caps(given.calls, &admission, &ledger),
        budget({.bytes = given.memory_budget, .max_waiting = 2 * executor.threads()}, &admission),
        gate(MessagePlaces(given.memory_budget, given.limits.max_unary_bytes), &admission),
        streams(ActiveStreams(executor.threads()), &admission) {}

  absl::Status Build();
  absl::Status OpenMetrics();
  absl::Status OpenSharedMemory();
  absl::Status ServeMetrics();
  ServerState State();
  void GiveUp();
  void LetConnectionsGo(absl::Time deadline);

  const ServerOptions options;
  Executor executor;
  BufferPool pool{kMaxIdleOutputBytes};
  CallCount calls;
  PutOff put_off{};
  AdmissionCounters admission;
  AdmissionCounters control_counters;
  CallMetrics metrics;
  Ledger ledger;
  CallCaps caps;
  ByteBudget budget;
  RegionTable regions;
  MessageGate gate;
  MessageGate streams;
  Watch watch;
  Ticker ticker{&watch, &budget, {&gate, &streams}};
  RawLossService service;
  CallCaps control_caps{kControlCalls, &control_counters, &ledger};
  HealthState health;
  std::unique_ptr<ControlService> control;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<Endpoints> endpoints;
  Environment environment;
  std::unique_ptr<Trimmer> trimmer;
  std::vector<std::thread> pollers;
  std::string metrics_address;
  std::vector<ListenSocket> metrics_sockets;
  std::unique_ptr<RegionListener> region_listener;  // null: no memory is shared
  Collector collector{&metrics, [this] { return State(); }};
  std::unique_ptr<MetricsServer> metrics_server;  // the last: it asks for all the others
};

absl::Status Server::Impl::Build() {
  LOSSD_ASSIGN_OR_RETURN(endpoints, Endpoints::Open(options));
  LOSSD_RETURN_IF_ERROR(OpenMetrics());
  LOSSD_RETURN_IF_ERROR(OpenSharedMemory());
  StartGrpcOnce();
  grpc::ServerBuilder builder;
  SetChannelArguments(builder);
  builder.SetResourceQuota(grpc::ResourceQuota("lossd").Resize(GrpcQuota(options.memory_budget)));
  endpoints->AddTo(builder);
  builder.RegisterService(&service);
  control = std::make_unique<ControlService>(
      ControlService::Parts{.caps = &control_caps,
                            .authenticator = &endpoints->authenticator(),
                            .counters = &admission,
                            .ticker = &ticker,
                            .health = &health,
                            .log = options.log,
                            .audit = options.audit,
                            .metrics = &metrics,
                            .times = options.times,
                            .reflection = options.reflection});
  control->AddTo(builder);
  queue = builder.AddCompletionQueue();
  server = builder.BuildAndStart();
  if (server == nullptr) return absl::InternalError("gRPC could not start a server");
  return absl::OkStatus();
}

// Like the health port: in the clear, on any address that is asked for.
absl::Status Server::Impl::OpenMetrics() {
  if (options.metrics_listen.empty()) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(const ListenAddress address, ListenAddress::Parse(options.metrics_listen));
  LOSSD_ASSIGN_OR_RETURN(metrics_sockets, address.Listen());
  metrics_address = address.WithPort(metrics_sockets.front().Port());
  return absl::OkStatus();
}

absl::Status Server::Impl::OpenSharedMemory() {
  if (options.shared_memory.empty()) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(const ListenAddress address, ListenAddress::Parse(options.shared_memory));
  if (!address.is_unix()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shared-memory is ", options.shared_memory, "; wanted unix:/path"));
  }
  LOSSD_ASSIGN_OR_RETURN(std::vector<ListenSocket> sockets, address.Listen(UnixAccess::kOwnUser));
  LOSSD_ASSIGN_OR_RETURN(
      region_listener,
      RegionListener::Start(std::move(sockets), RegionLimits::Of(options.memory_budget), &regions,
                            &budget));
  return absl::OkStatus();
}

absl::Status Server::Impl::ServeMetrics() {
  if (metrics_sockets.empty()) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(metrics_server,
                         MetricsServer::Start(std::move(metrics_sockets), &collector));
  return absl::OkStatus();
}

ServerState Server::Impl::State() {
  ServerState state = {.calls = calls.live() + control->live(),
                       .queued = admission.queued + admission.held_back,
                       .budget_bytes = options.memory_budget,
                       .granted_bytes = admission.granted_bytes,
                       .loaned_output_bytes = pool.loaned_bytes(),
                       .idle_output_bytes = pool.idle_bytes(),
                       .shared_regions = regions.amount()->regions,
                       .shared_bytes = regions.amount()->bytes,
                       .connections = endpoints->connections(),
                       .max_connections = endpoints->max_connections(),
                       .refused_connections = endpoints->refused_connections(),
                       .threads = executor.threads(),
                       .version = LOSSD_VERSION,
                       .simd_target = environment.info.simd_target};
  std::copy(admission.refused.begin(), admission.refused.end(), state.rejected.begin());
  return state;
}

// Of a server that serves nothing yet.
void Server::Impl::GiveUp() {
  if (server != nullptr) server->Shutdown();
  if (queue == nullptr) return;
  queue->Shutdown();
  Event::DispatchAll(*queue);
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& given) {
  ServerOptions options = given;
  if (options.memory_budget == 0) options.memory_budget = DefaultBudget(MemoryLimit());
  LOSSD_RETURN_IF_ERROR(CheckLimits(options.limits));
  if (options.memory_budget < kMemoryBudget.least) {
    return absl::InvalidArgumentError(absl::StrFormat("memory_budget is %d; wanted %d or more",
                                                      options.memory_budget, kMemoryBudget.least));
  }
  if (options.threads < 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("threads is %d; wanted 0 or more", options.threads));
  }
  if (options.listen.empty()) {
    return absl::InvalidArgumentError("listen is empty; wanted at least one address");
  }
  auto impl = std::make_unique<Impl>(options);
  if (absl::Status built = impl->Build(); !built.ok()) {
    impl->GiveUp();
    return built;
  }
  impl->environment = {.service = &impl->service,
                       .queue = impl->queue.get(),
                       .executor = &impl->executor,
                       .pool = &impl->pool,
                       .regions = &impl->regions,
                       .calls = &impl->calls,
                       .put_off = &impl->put_off,
                       .authenticator = &impl->endpoints->authenticator(),
                       .counters = &impl->admission,
                       .caps = &impl->caps,
                       .budget = &impl->budget,
                       .gate = &impl->gate,
                       .streams = &impl->streams,
                       .arrivals = &impl->ledger,
                       .ticker = &impl->ticker,
                       .log = options.log,
                       .audit = options.audit,
                       .metrics = &impl->metrics,
                       .limits = options.limits,
                       .times = options.times,
                       .info = InfoOf(options.limits, impl->executor)};
  for (CallCaps* const caps : {&impl->caps, &impl->control_caps}) {
    caps->Trust(impl->endpoints->trusted_proxies());
    caps->TellOffenders([endpoints = impl->endpoints.get()](auto peer) { endpoints->Break(peer); });
  }
  impl->ticker.Start(impl->queue.get());
  for (int i = 0; i < kAcceptDepth; ++i) {
    for (size_t method = 0; method < kLossMethods; ++method) {
      Accept(impl->environment, static_cast<Method>(method));
    }
  }
  impl->control->Serve(impl->queue.get());
  impl->trimmer = std::make_unique<Trimmer>(&impl->environment, impl->control.get());
  for (int i = 0; i < std::min(kMaxPollers, UsableThreads()); ++i) {
    impl->pollers.emplace_back([queue = impl->queue.get()] { Event::DispatchAll(*queue); });
  }
  std::unique_ptr<Server> server(new Server(std::move(impl)));
  LOSSD_RETURN_IF_ERROR(
      server->impl_->endpoints->Start(server->impl_->health, server->impl_->ledger));
  LOSSD_RETURN_IF_ERROR(server->impl_->ServeMetrics());
  return server;
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() {
  if (!impl_->pollers.empty()) Drain(absl::ZeroDuration());
}

const std::vector<std::string>& Server::addresses() const { return impl_->endpoints->addresses(); }
const std::string& Server::health_address() const { return impl_->endpoints->health_address(); }
const std::string& Server::metrics_address() const { return impl_->metrics_address; }

Settings Server::settings() const {
  Settings settings = impl_->endpoints->settings();
  settings.emplace_back("metrics-listen",
                        impl_->metrics_address.empty() ? "none" : impl_->metrics_address);
  const std::string& shared_memory = impl_->options.shared_memory;
  settings.emplace_back("shared-memory", shared_memory.empty() ? "none" : shared_memory);
  const wire::Limits& limits = impl_->options.limits;
  for (const auto& [name, bytes] : {std::pair("max-unary-bytes", limits.max_unary_bytes),
                                    {"max-block-bytes", limits.max_block_bytes},
                                    {"max-side-bytes", limits.max_side_bytes},
                                    {"max-tensor-bytes", limits.max_tensor_bytes},
                                    {"memory-budget", impl_->options.memory_budget}}) {
    settings.emplace_back(name, SizeText(bytes));
  }
  settings.emplace_back(
      "max-call-duration",
      absl::StrCat(std::chrono::duration<double>(impl_->options.times.call).count()));
  settings.emplace_back("threads", std::to_string(impl_->executor.threads()));
  settings.emplace_back("simd-target", ActiveSimdTarget());
  return settings;
}

// Clients are asked to go, and what they send until they know is answered (DRAINING), until no
// connection is left; of one that stays, such as a watch of the health, until kLinger after the
// last call. gRPC does not tell when a connection closes: they are looked at.
void Server::Impl::LetConnectionsGo(absl::Time deadline) {
  constexpr absl::Duration kLookAgain = absl::Milliseconds(5);
  SendGoaways(*server);
  absl::Time quiet_since = absl::Now();
  for (absl::Time now = quiet_since; now < deadline && endpoints->connections() > 0;
       now = absl::Now()) {
    if (calls.live() > 0) quiet_since = now;
    if (now - quiet_since > absl::FromChrono(kLinger)) break;
    absl::SleepFor(kLookAgain);
  }
}

void Server::Reload() { impl_->endpoints->Reload(); }

void Server::Drain(absl::Duration timeout) {
  impl_->endpoints->Close();
  impl_->caps.Drain();
  impl_->budget.Drain(std::chrono::steady_clock::now());
  const absl::Time until = absl::Now() + timeout;
  if (timeout > absl::ZeroDuration()) impl_->LetConnectionsGo(until);
  const auto deadline = absl::ToChronoTime(until);
  const std::future<void> shut =
      std::async(std::launch::async, [&] { impl_->server->Shutdown(deadline); });
  impl_->calls.WaitForNone();  // gRPC breaks them off at the deadline
  // Shutdown would wait for calls that watch the health of the server, too.
  if (shut.wait_for(kLinger) != std::future_status::ready) {
    grpc_server_cancel_all_calls(impl_->server->c_server());
  }
  shut.wait();
  impl_->region_listener = nullptr;
  impl_->control->WaitForNone();
  impl_->ticker.Stop();
  impl_->trimmer->Stop();
  impl_->queue->Shutdown();
  for (std::thread& poller : impl_->pollers) poller.join();
  impl_->pollers.clear();
}

int64_t Server::connections() const { return impl_->endpoints->connections(); }
int64_t Server::live_calls() const { return impl_->calls.live(); }
const AdmissionCounters& Server::admission() const { return impl_->admission; }
int64_t Server::shared_regions() const { return impl_->regions.amount()->regions; }
int64_t Server::loaned_output_bytes() const { return impl_->pool.loaned_bytes(); }

}  // namespace lossd
