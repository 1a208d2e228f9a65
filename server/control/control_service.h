#ifndef LOSSD_SERVER_CONTROL_CONTROL_SERVICE_H_
#define LOSSD_SERVER_CONTROL_CONTROL_SERVICE_H_

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <cstdint>

#include "server/admission/call_caps.h"
#include "server/admission/call_times.h"
#include "server/admission/counters.h"
#include "server/calls/call_count.h"
#include "server/calls/ticker.h"
#include "server/control/health_state.h"
#include "server/log/audit_log.h"
#include "server/log/log.h"
#include "server/metrics/call_metrics.h"
#include "server/security/authenticator.h"

namespace lossd {

// Answers every call that is not one of LossService: grpc.health.v1, reflection where it is on, and
// UNIMPLEMENTED for all others. Such calls are counted before anything else is looked at, have time
// limits and places of their own, and are in the log and the metrics as all calls are.
//
// It is gRPC's generic service, on the completion queue whose tags are Events. Without one, gRPC
// 1.51 answers unknown methods by itself, with an object that hands a null tag to the second thread
// that polls (grpc#32356); and it reads the message of a health check, whatever its size, before
// the call is seen. (docs/adr/010-health-service.md)
class ControlService {
 public:
  struct Parts {
    CallCaps* caps = nullptr;
    const Authenticator* authenticator = nullptr;
    AdmissionCounters* counters = nullptr;
    Ticker* ticker = nullptr;
    HealthState* health = nullptr;
    Log* log = nullptr;              // null: nothing is written
    AuditLog* audit = nullptr;       // null: nothing is written
    CallMetrics* metrics = nullptr;  // null: nothing is counted
    TimeLimits times = {};
    bool reflection = false;
  };

  // All parts outlive the completion queue's last event, and so does this.
  explicit ControlService(const Parts& parts) : parts_(parts) {}
  ControlService(const ControlService&) = delete;
  ControlService& operator=(const ControlService&) = delete;

  void AddTo(grpc::ServerBuilder& builder) { builder.RegisterAsyncGenericService(&service_); }

  // Once the server is built: from here on calls are answered.
  void Serve(grpc::ServerCompletionQueue* queue);

  // Waits for one more call. Where there is no memory for it, that is made up for by AcceptPutOff.
  void Accept();

  // Like that of calls/accept.h: not after the completion queue was shut down.
  void AcceptPutOff();

  // Calls that have begun and not ended, watches of the health left out.
  int64_t live() const { return calls_.live() - watches_; }

  // Once gRPC's server is shut down, and before its completion queue is: until no call is left.
  void WaitForNone() { calls_.WaitForNone(); }

 private:
  friend class ControlCall;

  const Parts parts_;
  grpc::AsyncGenericService service_;
  grpc::ServerCompletionQueue* queue_ = nullptr;
  CallCount calls_;
  std::atomic<int64_t> watches_{0};
  std::atomic<int> put_off_{0};
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CONTROL_CONTROL_SERVICE_H_
