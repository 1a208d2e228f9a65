// What the thread sanitizer runs with in every program that is built with it, however that is
// started. TSAN_OPTIONS overrides each option.

extern "C" const char* __tsan_default_options() {
  return
      // Judged is the memory that our own code reads and writes, and what is built with it; the
      // locks, threads and sockets of the other libraries are seen all the same.
      "ignore_noninstrumented_modules=1:"
      // A server that a test has started fails that test, too.
      "halt_on_error=1:"
      "second_deadlock_stack=1";
}

extern "C" const char* __tsan_default_suppressions() {
  return
      // gRPC counts, unseen, the references to what its mutexes are part of. Whatever of ours went
      // while others used it would show by its other members, too.
      "race:^absl::*::Mutex::~Mutex()$\n";
}
