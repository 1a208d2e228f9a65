#ifndef LOSSD_SERVER_SANDBOX_H_
#define LOSSD_SERVER_SANDBOX_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace lossd {

// Folders that a server changes. Everywhere else it reads.
struct WrittenFolders {
  std::vector<std::string> sockets = {};  // Unix sockets are made and removed there
  std::vector<std::string> logs = {};     // files are made and appended to there
};

// Takes from this process, for good, the rights that a server does not need once it runs, so that
// an attacker who finds a fault gains little (docs/adr/031-sandbox.md). The kernel refuses what was
// taken with an error; no signal is sent. What this kernel cannot take is left out, and in_force()
// says why.
class Sandbox {
 public:
  // Files beyond `folders` cannot be written, made, removed or executed by this thread and those it
  // starts from now on: to be called before the first. A folder that does not exist is left out.
  void GiveUpFiles(const WrittenFolders& folders);

  // Of all threads: no system call that starts programs, makes connections or memory to execute,
  // looks into other processes or changes the machine.
  void GiveUpSystemCalls();

  // For people: "files,syscalls", "syscalls (the kernel has no Landlock)", "none".
  std::string in_force() const;

 private:
  void Note(absl::string_view part, const absl::Status& taken);

  std::vector<std::string> parts_;
  std::vector<std::string> faults_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_SANDBOX_H_
