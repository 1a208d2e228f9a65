#include "server/calls/event.h"

#include <new>

namespace lossd {

void Event::DispatchAll(grpc::CompletionQueue& queue) {
  for (bool more = true; more;) {
    try {
      void* tag = nullptr;
      bool ok = false;
      while ((more = queue.Next(&tag, &ok))) Dispatch(tag, ok);
    } catch (const std::bad_alloc&) {
    }
  }
}

}  // namespace lossd
