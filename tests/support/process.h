#ifndef LOSSD_TESTS_SUPPORT_PROCESS_H_
#define LOSSD_TESTS_SUPPORT_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lossd {

// A program that runs beside the test, its standard output readable line by line; standard error is
// the test's, or is appended to a file. Killed and reaped at the latest when this goes.
class Process {
 public:
  // command[0] is the path of the program. Ends the test program if it cannot be started.
  // error_file: empty, or where its standard error goes.
  explicit Process(const std::vector<std::string>& command, const std::string& error_file = "");
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }

  // The next line of standard output, without its end; nullopt at the end of the output, or when
  // none came within `seconds`.
  std::optional<std::string> ReadLine(int seconds = 30);

  void Signal(int number);

  // Stops the program (SIGSTOP) and waits until it stands still.
  void Freeze();

  // Waits for the end and returns the exit code, or minus the signal it died of.
  int Wait();

 private:
  pid_t pid_ = -1;
  int output_ = -1;
  std::string pending_;
  std::optional<int> exit_;
};

// A running lossd.
class ServerProcess {
 public:
  // With `listen` addresses and other flags. Returns when the server said where it listens; ends
  // the test program if it does not. The program: $LOSSD_BINARY, else the one of this build.
  explicit ServerProcess(const std::vector<std::string>& listen = {"127.0.0.1:0"},
                         const std::vector<std::string>& flags = {},
                         const std::string& error_file = "");

  // Where it listens, one per `listen`; host:port or unix:/path, as clients take it.
  const std::vector<std::string>& addresses() const { return addresses_; }
  const std::string& address() const { return addresses_.front(); }
  Process& process() { return *process_; }

 private:
  std::unique_ptr<Process> process_;
  std::vector<std::string> addresses_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_SUPPORT_PROCESS_H_
