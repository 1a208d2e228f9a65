#ifndef LOSSD_SERVER_TRIMMER_H_
#define LOSSD_SERVER_TRIMMER_H_

#include <grpcpp/alarm.h>

#include <mutex>

#include "server/calls/environment.h"
#include "server/calls/event.h"
#include "server/control/control_service.h"
#include "server/memory/release_policy.h"

namespace lossd {

// Every two seconds gives back what the general allocator keeps beyond what calls have use for, and
// now and then output memory that is no longer used; and makes up for calls that there was no
// memory to wait for. On the completion queue of `environment`.
class Trimmer final : public Event {
 public:
  // Begins at once; both arguments outlive the completion queue's last event.
  Trimmer(const Environment* environment, ControlService* control);

  // Before the completion queue shuts down.
  void Stop();

 private:
  void Run(bool ok) override;
  void ReleaseUnused();
  void Arm();

  const Environment* environment_;
  ControlService* control_;
  ReleasePolicy policy_;
  int turns_ = 0;
  std::mutex mutex_;
  bool stopped_ = false;
  grpc::Alarm alarm_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_TRIMMER_H_
