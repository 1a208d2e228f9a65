// What gRPC promises about order, told to the thread sanitizer, which cannot see it: gRPC orders by
// atomics, and Debian's is not instrumented. Each function here stands before the one of its name
// in libgrpc.so and adds nothing but the promise.
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <sanitizer/tsan_interface.h>

namespace {

template <class Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

grpc_event Came(const grpc_event& event) {
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

// Memory lent to a slice, until the last reference to it is gone.
struct Loan {
  void (*destroy)(void*);
  void* data;
  void* count = nullptr;  // of references; gRPC's
};

void EndLoan(void* lent) {
  auto* const loan = static_cast<Loan*>(lent);
  __tsan_acquire(loan);
  __tsan_acquire(loan->count);
  loan->destroy(loan->data);
  delete loan;
}

// Slices so small that they hold their bytes have none, static ones one that is never counted.
bool IsCounted(const grpc_slice& slice) {
  return slice.refcount > reinterpret_cast<grpc_slice_refcount*>(1);
}

}  // namespace

// What was done before an operation was begun comes before what is done once the queue has given
// its tag back. Every operation passes here: batches of calls, calls waited for, alarms, shutdown.
bool grpc_cq_begin_op(grpc_completion_queue* queue, void* tag) {
  static auto* const next =
      Next<decltype(grpc_cq_begin_op)>("_Z16grpc_cq_begin_opP21grpc_completion_queuePv");
  __tsan_release(tag);
  return next(queue, tag);
}

extern "C" {

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline,
                                      void* reserved) {
  static auto* const next =
      Next<decltype(grpc_completion_queue_next)>("grpc_completion_queue_next");
  return Came(next(queue, deadline, reserved));
}

grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag,
                                       gpr_timespec deadline, void* reserved) {
  static auto* const next =
      Next<decltype(grpc_completion_queue_pluck)>("grpc_completion_queue_pluck");
  return Came(next(queue, tag, deadline, reserved));
}

// What was done with the memory of a slice before it was lent, and by everyone who let go of it,
// comes before `destroy`.
grpc_slice grpc_slice_new_with_user_data(void* bytes, size_t size, void (*destroy)(void*),
                                         void* data) {
  static auto* const next =
      Next<decltype(grpc_slice_new_with_user_data)>("grpc_slice_new_with_user_data");
  auto* const loan = new Loan{destroy, data};
  const grpc_slice slice = next(bytes, size, &EndLoan, loan);
  loan->count = slice.refcount;
  __tsan_release(loan);
  return slice;
}

void grpc_slice_unref(grpc_slice slice) {
  static auto* const next = Next<decltype(grpc_slice_unref)>("grpc_slice_unref");
  if (IsCounted(slice)) __tsan_release(slice.refcount);
  next(slice);
}

}  // extern "C"
