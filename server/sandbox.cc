#include "server/sandbox.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "lossd/status_macros.h"
#include "server/listen/listen_socket.h"

namespace lossd {
namespace {

absl::Status Refused(absl::string_view what, int error) {
  return absl::UnavailableError(absl::StrCat(what, ": ", absl::ErrnoToStatus(error, "").message()));
}

// ---------------------------------------------------------------------------- files: Landlock

// What is taken. Reading is not: certificates and tokens are read again wherever they are.
constexpr uint64_t kOfTheFirstKernel =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
constexpr uint64_t kMoveBetweenFolders = uint64_t{1} << 13;  // from version 2 on
constexpr uint64_t kTruncate = uint64_t{1} << 14;            // from version 3 on

constexpr uint64_t kOfSockets = LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;
constexpr uint64_t kOfLogs = LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_WRITE_FILE;

// Its version; 0: there is none.
int64_t LandlockVersion() {
  const int64_t version = syscall(SYS_landlock_create_ruleset, nullptr, size_t{0},
                                  uint32_t{LANDLOCK_CREATE_RULESET_VERSION});
  return version < 0 ? 0 : version;
}

absl::Status Allow(int rules, const std::vector<std::string>& folders, uint64_t access) {
  for (const std::string& folder : folders) {
    const OwnedFd fd(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) continue;
    landlock_path_beneath_attr beneath{};
    beneath.allowed_access = access;
    beneath.parent_fd = fd.get();
    if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0U) != 0) {
      return Refused("Landlock", errno);
    }
  }
  return absl::OkStatus();
}

// ---------------------------------------------------------------------- system calls: seccomp

// Refused with EPERM whatever their arguments. Memory, threads, times, reading files, and calls on
// descriptors that are open already are not in the list.
constexpr const char* kForbidden[] = {
    // Programs and processes.
    "execve", "execveat", "fork", "vfork", "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "setsid", "setpgid",
    // A look into others.
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "perf_event_open",
    "lookup_dcookie",
    // Connections of its own; a server accepts.
    "socket", "socketpair", "connect", "bind", "listen",
    // Ways around the rest.
    "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "bpf", "memfd_create",
    "memfd_secret", "remap_file_pages", "shmat", "name_to_handle_at", "open_by_handle_at",
    "fanotify_init", "keyctl", "add_key", "request_key", "personality", "modify_ldt", "vmsplice",
    // Identity, and name spaces.
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid",
    "setgroups", "capset", "unshare", "setns", "chroot", "pivot_root",
    // Files.
    "link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "chmod", "fchmod", "fchmodat",
    "chown", "fchown", "lchown", "fchownat", "setxattr", "lsetxattr", "fsetxattr", "removexattr",
    "lremovexattr", "fremovexattr", "mkdir", "mkdirat", "rmdir",
    // The machine.
    "mount", "umount2", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "swapon", "swapoff", "reboot", "kexec_load", "kexec_file_load", "init_module",
    "finit_module", "delete_module", "acct", "quotactl", "quotactl_fd", "settimeofday",
    "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "iopl", "ioperm",
    "syslog", "vhangup", "nfsservctl", "migrate_pages", "move_pages"};

using Filter = std::unique_ptr<void, decltype(&seccomp_release)>;

int AddRules(scmp_filter_ctx filter) {
  constexpr uint32_t kRefuse = SCMP_ACT_ERRNO(EPERM);
  for (const char* const name : kForbidden) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) continue;  // newer than this libseccomp
    if (const int error = seccomp_rule_add(filter, kRefuse, number, 0)) return error;
  }
  // The C library starts threads with clone3, whose flags a filter cannot see, and where that does
  // not exist with clone.
  const auto no_thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
  if (const int error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0)) {
    return error;
  }
  if (const int error = seccomp_rule_add(filter, kRefuse, SCMP_SYS(clone), 1, no_thread)) {
    return error;
  }
  const auto executable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC);
  for (const int number : {SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(pkey_mprotect)}) {
    if (const int error = seccomp_rule_add(filter, kRefuse, number, 1, executable)) return error;
  }
  return 0;
}

absl::Status TakeFiles(const WrittenFolders& folders) {
  const int64_t version = LandlockVersion();
  if (version == 0) return absl::UnavailableError("the kernel has no Landlock");
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs =
      kOfTheFirstKernel | (version >= 2 ? kMoveBetweenFolders : 0) | (version >= 3 ? kTruncate : 0);
  const OwnedFd rules(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0U)));
  if (rules.get() < 0) return Refused("Landlock", errno);
  LOSSD_RETURN_IF_ERROR(Allow(rules.get(), folders.sockets, kOfSockets));
  LOSSD_RETURN_IF_ERROR(Allow(rules.get(), folders.logs, kOfLogs));
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      syscall(SYS_landlock_restrict_self, rules.get(), 0U) != 0) {
    return Refused("Landlock", errno);
  }
  return absl::OkStatus();
}

absl::Status TakeSystemCalls() {
#ifdef LOSSD_SANITIZED
  return absl::UnavailableError("sanitizers stop threads and start programs");
#else
  const Filter filter(seccomp_init(SCMP_ACT_ALLOW), &seccomp_release);
  if (filter == nullptr) return absl::UnavailableError("no memory for a filter of system calls");
  // All threads there are. Numbers of another architecture would otherwise end the process.
  int error = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  if (error == 0) {
    error = seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
  }
  if (error == 0) error = AddRules(filter.get());
  if (error == 0) error = seccomp_load(filter.get());
  return error == 0 ? absl::OkStatus() : Refused("seccomp", -error);
#endif
}

}  // namespace

void Sandbox::GiveUpFiles(const WrittenFolders& folders) { Note("files", TakeFiles(folders)); }
void Sandbox::GiveUpSystemCalls() { Note("syscalls", TakeSystemCalls()); }

void Sandbox::Note(absl::string_view part, const absl::Status& taken) {
  if (taken.ok()) {
    parts_.emplace_back(part);
  } else {
    faults_.emplace_back(taken.message());
  }
}

std::string Sandbox::in_force() const {
  const std::string parts = parts_.empty() ? "none" : absl::StrJoin(parts_, ",");
  if (faults_.empty()) return parts;
  return absl::StrCat(parts, " (", absl::StrJoin(faults_, "; "), ")");
}

}  // namespace lossd
