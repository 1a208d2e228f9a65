#include "client/python/native_client.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/python/backend.h"
#include "client/python/call.h"
#include "client/python/errors.h"

namespace lossd::python {
namespace {

// A wish that a call may end.
class Stop {
 public:
  void Request() { requested_ = true; }
  bool requested() const { return requested_; }

 private:
  std::atomic<bool> requested_ = false;
};

// The calls of a client that are under way.
class CallsUnderWay {
 public:
  bool closing() const { return closing_; }

  void Began() {
    const std::lock_guard lock(mutex_);
    ++count_;
  }
  void Ended() {
    const std::lock_guard lock(mutex_);
    if (--count_ == 0) none_.notify_all();
  }

  int count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

  // Asks all to end, and waits until they have.
  void End() {
    closing_ = true;
    std::unique_lock lock(mutex_);
    none_.wait(lock, [this] { return count_ == 0; });
  }

 private:
  std::atomic<bool> closing_ = false;
  std::mutex mutex_;
  std::condition_variable none_;
  int count_ = 0;
};

// What Ctrl-C and other signals raised while a call waited.
class Signals {
 public:
  // Runs the handlers of signals that came. Without the GIL; of the main thread, elsewhere there
  // are none.
  bool Raised() {
    const nb::gil_scoped_acquire python;
    if (PyErr_CheckSignals() == 0) return false;
    error_.emplace();  // takes the exception
    return true;
  }

  void Rethrow() {
    if (error_) throw nb::python_error(std::move(*error_));
  }

 private:
  std::optional<nb::python_error> error_;
};

class NativeClient {
 public:
  NativeClient(const std::string& target, double timeout, int connections)
      : target_(target), process_(getpid()), calls_(std::make_shared<CallsUnderWay>()) {
    if (target == "local") {
      backend_ = MakeLocalBackend();
      return;
    }
    ClientOptions options;
    options.timeout = absl::Seconds(timeout);
    options.channels = connections;
    auto backend = MakeRemoteBackend(target, options);
    if (!backend.ok()) Throw(backend.status());
    backend_ = *std::move(backend);
  }

  ~NativeClient() { Drop(); }
  NativeClient(const NativeClient&) = delete;
  NativeClient& operator=(const NativeClient&) = delete;

  Result Compute(nb::handle predictions, nb::handle targets, nb::handle spec,
                 const nb::kwargs& arguments) {
    return Run(nullptr, Call(predictions, targets, spec, arguments));
  }

  // The same for a thread that `stop` ends.
  Result ComputeUntil(const Stop& stop, nb::handle predictions, nb::handle targets, nb::handle spec,
                      const nb::kwargs& arguments) {
    return Run(&stop, Call(predictions, targets, spec, arguments));
  }

  // Calls done(result, None) or done(None, exception) once, from a thread of the client's.
  void Start(nb::handle stop, nb::object done, nb::handle predictions, nb::handle targets,
             nb::handle spec, const nb::kwargs& arguments) {
    struct Started {
      Call call;
      nb::object stop;
      nb::object done;
      std::shared_ptr<Backend> backend;
      std::shared_ptr<CallsUnderWay> calls;
    };
    auto* const started = new Started{Call(predictions, targets, spec, arguments), nb::borrow(stop),
                                      std::move(done), Open(), calls_};
    const auto& wish = nb::cast<const Stop&>(stop);
    CallOptions options = started->call.options();
    options.stop = [&wish, calls = calls_] { return wish.requested() || calls->closing(); };
    const Call& call = started->call;
    calls_->Began();
    const nb::gil_scoped_release free;
    started->backend->Start(call.spec(), call.inputs(), call.outputs(), options,
                            [started](absl::StatusOr<LossResult> numbers) {
                              const std::shared_ptr<CallsUnderWay> calls = started->calls;
                              // The last handle may go here, which waits for no call that is its
                              // own.
                              const std::shared_ptr<Backend> backend = started->backend;
                              {
                                const nb::gil_scoped_acquire python;
                                const std::unique_ptr<Started> owned(started);
                                Answer(*owned, std::move(numbers));
                              }
                              calls->Ended();
                            });
  }

  ServerInfo Info() {
    return Ask<ServerInfo>([](Backend& backend) { return backend.Info(); });
  }
  bool Healthy() {
    const std::shared_ptr<Backend> backend = Open();
    const nb::gil_scoped_release free;
    const absl::StatusOr<bool> healthy = backend->Healthy();
    return healthy.ok() && *healthy;
  }

  void Close() {
    if (process_ == getpid()) {
      const nb::gil_scoped_release free;
      calls_->End();
    }
    Drop();
  }

  const std::string& target() const { return target_; }
  int calls() const { return calls_->count(); }

 private:
  std::shared_ptr<Backend> Open() const {
    if (backend_ == nullptr || calls_->closing()) throw nb::value_error("the client is closed");
    if (!backend_->outlives_fork() && process_ != getpid()) {
      const nb::object error = nb::module_::import_("lossd.errors").attr("ForkError");
      PyErr_SetString(error.ptr(),
                      "this process forked after the client was made; wanted a client of its own: "
                      "lossd.connect() after the fork");
      throw nb::python_error();
    }
    return backend_;
  }

  Result Run(const Stop* stop, Call call) {
    const std::shared_ptr<Backend> backend = Open();
    Signals signals;
    CallOptions options = call.options();
    options.stop = [&] {
      return calls_->closing() || (stop != nullptr && stop->requested()) || signals.Raised();
    };
    calls_->Began();
    absl::StatusOr<LossResult> numbers = [&] {
      const nb::gil_scoped_release free;
      absl::StatusOr<LossResult> answer =
          backend->Compute(call.spec(), call.inputs(), call.outputs(), options);
      return answer;
    }();
    calls_->Ended();
    signals.Rethrow();
    if (!numbers.ok()) Throw(numbers.status());
    return call.Finish(*std::move(numbers));
  }

  template <class Started>
  static void Answer(Started& started, absl::StatusOr<LossResult> numbers) {
    try {
      if (numbers.ok()) {
        started.done(nb::cast(started.call.Finish(*std::move(numbers))), nb::none());
      } else {
        started.done(nb::none(), ErrorOf(numbers.status()));
      }
    } catch (nb::python_error& error) {
      error.discard_as_unraisable("lossd: a future's callback");
    }
  }

  template <class T, class Question>
  T Ask(Question question) {
    const std::shared_ptr<Backend> backend = Open();
    absl::StatusOr<T> answer = [&] {
      const nb::gil_scoped_release free;
      return question(*backend);
    }();
    if (!answer.ok()) Throw(answer.status());
    return *std::move(answer);
  }

  // What is gRPC's cannot be destroyed in a child.
  void Drop() {
    if (backend_ == nullptr) return;
    if (!backend_->outlives_fork() && process_ != getpid()) {
      static_cast<void>(new std::shared_ptr<Backend>(std::move(backend_)));
      return;
    }
    const nb::gil_scoped_release free;
    backend_.reset();
  }

  const std::string target_;
  const pid_t process_;
  const std::shared_ptr<CallsUnderWay> calls_;
  std::shared_ptr<Backend> backend_;  // nullptr: closed
};

std::vector<std::string> Names(const std::vector<DType>& dtypes) {
  std::vector<std::string> names;
  names.reserve(dtypes.size());
  for (const DType dtype : dtypes) names.emplace_back(FrameworkName(dtype));
  return names;
}

void BindInfo(nb::module_& module) {
  nb::class_<ServerInfo>(module, "ServerInfo", "What computes, and what it accepts.")
      .def_ro("version", &ServerInfo::version)
      .def_ro("numerics_version", &ServerInfo::numerics_version,
              "Changes when any result may change by a bit.")
      .def_ro("simd_target", &ServerInfo::simd_target)
      .def_ro("threads", &ServerInfo::threads)
      .def_ro("losses", &ServerInfo::losses)
      .def_ro("options", &ServerInfo::options)
      .def_ro("tensors", &ServerInfo::tensors)
      .def_ro("outputs", &ServerInfo::outputs)
      .def_ro("features", &ServerInfo::features)
      .def_ro("max_unary_bytes", &ServerInfo::max_unary_bytes)
      .def_ro("max_block_bytes", &ServerInfo::max_block_bytes)
      .def_ro("max_side_bytes", &ServerInfo::max_side_bytes)
      .def_ro("max_tensor_bytes", &ServerInfo::max_tensor_bytes)
      .def_prop_ro("prediction_dtypes",
                   [](const ServerInfo& info) { return Names(info.prediction_dtypes); })
      .def_prop_ro("label_dtypes", [](const ServerInfo& info) { return Names(info.label_dtypes); });
}

constexpr char kComputeDoc[] =
    "Computes a loss and, unless gradient=False, its gradient, and waits.\n\n"
    "predictions, targets: arrays of the CPU with DLPack, the buffer protocol or\n"
    "    __array_interface__ (NumPy, PyTorch, JAX, ml_dtypes), contiguous or a permutation of\n"
    "    contiguous; never copied. Targets of floats in the shape of the predictions have one "
    "value\n"
    "    for each element; others are class indices. target_kind= says otherwise.\n"
    "spec: a loss, as one of lossd.losses with its options, or the name of one.\n"
    "gradient: whether it is wanted.\n"
    "out: an array for the gradient, which may be the predictions; or a dict from names of outputs "
    "to\n"
    "    arrays. After an error their contents are unspecified.\n"
    "outputs: names of what is wanted beside it, as [\"argmax_hits\"].\n"
    "class_weights, position_weights, upstream_gradient: further arrays, as the loss takes them.\n"
    "timeout: seconds; default: the client's. fan_out: streams at once. transport: \"auto\", "
    "\"unary\"\n"
    "    or \"stream\". Of services only.\n\n"
    "Returns a Result with arrays of the predictions' framework. Raises what lossd.errors lists;\n"
    "the GIL is free meanwhile.";

}  // namespace

void BindClient(nb::module_& module) {
  BindInfo(module);
  nb::class_<Stop>(module, "Stop", "A wish that a call may end.")
      .def(nb::init<>())
      .def("request", &Stop::Request)
      .def_prop_ro("requested", &Stop::requested);
  nb::class_<NativeClient>(module, "Client")
      .def(nb::init<const std::string&, double, int>(), nb::arg("target"), nb::arg("timeout"),
           nb::arg("connections"))
      .def("compute", &NativeClient::Compute, nb::arg("predictions"),
           nb::arg("targets") = nb::none(),
           nb::arg("spec") = std::string(FactsOf(LossSpec().loss).name), nb::arg("arguments"),
           kComputeDoc)
      .def("_compute", &NativeClient::ComputeUntil, nb::arg("stop"), nb::arg("predictions"),
           nb::arg("targets"), nb::arg("spec"), nb::arg("arguments"))
      .def("_start", &NativeClient::Start, nb::arg("stop"), nb::arg("done"), nb::arg("predictions"),
           nb::arg("targets"), nb::arg("spec"), nb::arg("arguments"))
      .def("info", &NativeClient::Info, "What computes, and what it accepts.")
      .def("healthy", &NativeClient::Healthy, "Whether it can be reached and serves.")
      .def("close", &NativeClient::Close)
      .def("_calls", &NativeClient::calls, "How many calls are under way.")
      .def_prop_ro("target", &NativeClient::target);
}

}  // namespace lossd::python
