#ifndef LOSSD_TESTS_SUPPORT_PROGRAM_H_
#define LOSSD_TESTS_SUPPORT_PROGRAM_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace lossd {

// A program of which both outputs are kept; killed and reaped with the object, and with the test
// itself.
class Program {
 public:
  explicit Program(const std::vector<std::string>& argv);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // The next line of its standard output; empty, with a failure of the test, after 30 seconds.
  std::string ReadLine();

  void Signal(int signal) const;
  pid_t pid() const { return pid_; }

  // Reads all it says and waits for its end, 60 seconds at most. Exit code, or 128 + signal.
  int Wait();

  const std::string& out() const { return out_; }  // of standard output, what ReadLine left
  const std::string& err() const { return err_; }

 private:
  bool ReadSome(int timeout_ms);  // false: both streams have ended, or time is up

  pid_t pid_ = -1;
  int out_pipe_ = -1;
  int err_pipe_ = -1;
  std::string out_;
  std::string err_;
};

struct Outcome {
  int exit_code;
  std::string out;
  std::string err;
};

Outcome RunLossctl(const std::vector<std::string>& arguments);

// lossd, on a free port and on a Unix socket.
class Service {
 public:
  explicit Service(const std::vector<std::string>& flags = {});

  const std::vector<std::string>& addresses() const { return server_.addresses(); }

  // Of what lossd says after them.
  std::string NextLine() { return server_.process().ReadLine().value_or(""); }

  // Asks it to end; its exit code.
  int Stop();

 private:
  const TempDir scratch_;
  ServerProcess server_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_SUPPORT_PROGRAM_H_
