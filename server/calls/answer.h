#ifndef LOSSD_SERVER_CALLS_ANSWER_H_
#define LOSSD_SERVER_CALLS_ANSWER_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <cstdint>
#include <exception>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "protos/wire/limits.h"
#include "server/admission/call_times.h"
#include "server/admission/counters.h"
#include "server/admission/instant.h"
#include "server/calls/call_record.h"

namespace lossd {

// The edge at which what libraries throw becomes a status: kUnavailable where memory ran out (a
// replica may have some), else kInternal. `work` returns an absl::Status or an absl::StatusOr.
absl::Status OutOfMemory();
absl::Status Thrown(const std::exception& thrown);
template <class Work>
auto Guarded(Work&& work) -> decltype(work()) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  } catch (const std::exception& thrown) {
    return Thrown(thrown);
  }
}

// The one exit of every call: its end goes on record, the status as returned to the client.
// kInternal and kUnknown, which are our mistakes, are in the log in full and shortened for the
// client. Refusals are counted, and the trailers that say why are added to `context`.
grpc::Status Conclude(CallRecord& record, const absl::Status& status, AdmissionCounters& counters,
                      grpc::ServerContext& context);

// A call was longer than TimeLimits::call.
absl::Status TookTooLong(const TimeLimits& limits);

// The request of a unary call has `bytes`, which is more than the limit; or has exceeded the limit
// before all of it came.
absl::Status TooLargeForOneMessage(int64_t bytes, const wire::Limits& limits);
absl::Status TooLargeForOneMessage(const wire::Limits& limits);

// The client's deadline, on the clock of admission.
Instant DeadlineOf(const grpc::ServerContext& context, Instant now);

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_ANSWER_H_
