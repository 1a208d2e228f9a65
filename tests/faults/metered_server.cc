// A lossd that tells how much of its heap is handed out.
//   metered_server
// Prints where it listens, and after every SIGUSR1 the bytes there are and the most there were
// since the last time.
#include <signal.h>

#include <cstdio>

#include "server/server.h"
#include "tests/support/heap_meter.h"

int main() {
  sigset_t asked;
  sigemptyset(&asked);
  sigaddset(&asked, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &asked, nullptr);  // the threads to come inherit it
  lossd::ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  options.threads = 2;
  const auto server = lossd::Server::Start(options);
  if (!server.ok()) return 1;
  std::printf("lossd: listening on %s\n", (*server)->addresses().front().c_str());
  std::fflush(stdout);
  for (int number = 0; sigwait(&asked, &number) == 0;) {
    std::printf("%lld %lld\n", static_cast<long long>(lossd::heap_meter::LiveBytes()),
                static_cast<long long>(lossd::heap_meter::PeakBytes()));
    std::fflush(stdout);
    lossd::heap_meter::ResetPeak();
  }
}
