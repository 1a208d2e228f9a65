#ifndef LOSSD_SERVER_CALLS_ACCEPT_H_
#define LOSSD_SERVER_CALLS_ACCEPT_H_

#include "server/admission/method.h"
#include "server/calls/environment.h"

namespace lossd {

// Waits for one more call of that method. Where there is no memory for it, that is put off.
// `environment` outlives the server's completion queue.
void Accept(const Environment& environment, Method method);

// Tries again what was put off. To be called when memory may have come free, and now and then; not
// after the completion queue was shut down.
void AcceptPutOff(const Environment& environment);

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_ACCEPT_H_
