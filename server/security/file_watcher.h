#ifndef LOSSD_SERVER_SECURITY_FILE_WATCHER_H_
#define LOSSD_SERVER_SECURITY_FILE_WATCHER_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"

namespace lossd {

// Notices, within kPeriod, that a file was written or replaced, also behind a symbolic link.
class FileWatcher {
 public:
  static constexpr absl::Duration kPeriod = absl::Seconds(1);

  FileWatcher() = default;
  ~FileWatcher();
  FileWatcher(const FileWatcher&) = delete;
  FileWatcher& operator=(const FileWatcher&) = delete;

  // Calls `changed` after one of the files has, on the watcher's thread; several changes may be one
  // call. Changes since this call count. Before Start.
  void Watch(std::vector<std::string> paths, std::function<void()> changed);

  // Looks from now on, if there is anything to look at.
  void Start();

  // One look, as the thread takes them. Before Start.
  void Look();

  // Takes all files for changed, now, on the calling thread. After Start.
  void ChangeAll();

 private:
  struct Group {
    std::vector<std::string> paths;
    std::function<void()> changed;
    std::string signature;
  };

  void Run();

  std::vector<Group> groups_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_SECURITY_FILE_WATCHER_H_
