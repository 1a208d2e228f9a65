#ifndef LOSSD_CLIENT_PYTHON_BACKEND_H_
#define LOSSD_CLIENT_PYTHON_BACKEND_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lossd/client.h"
#include "lossd/loss_result.h"
#include "lossd/loss_spec.h"
#include "lossd/server_info.h"

namespace lossd::python {

// What computes: this process, or a service. Thread-safe; knows nothing of Python.
class Backend {
 public:
  virtual ~Backend() = default;

  // See Client::Compute. Of call.stop all make the same; the other options are a service's.
  virtual absl::StatusOr<LossResult> Compute(const LossSpec& spec, const LossInputs& inputs,
                                             const LossOutputs& into, const CallOptions& call) = 0;

  // See Client::ComputeAsync. This process has none: kUnimplemented.
  using Done = std::function<void(absl::StatusOr<LossResult>)>;
  virtual void Start(const LossSpec& spec, const LossInputs& inputs, const LossOutputs& into,
                     const CallOptions& call, Done done) = 0;

  virtual absl::StatusOr<ServerInfo> Info() = 0;
  virtual absl::StatusOr<bool> Healthy() = 0;

  // Whether a child of this process may use and destroy it.
  virtual bool outlives_fork() const = 0;
};

// The core, on the threads of this process.
std::shared_ptr<Backend> MakeLocalBackend();

// A service; target and options as of Client::Connect.
absl::StatusOr<std::shared_ptr<Backend>> MakeRemoteBackend(const std::string& target,
                                                           const ClientOptions& options);

}  // namespace lossd::python

#endif  // LOSSD_CLIENT_PYTHON_BACKEND_H_
