#include "server/security/file_watcher.h"

#include <sys/stat.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

// Another file or other contents give another signature; a file that is away has one, too.
std::string SignatureOf(const std::vector<std::string>& paths) {
  std::string signature;
  for (const std::string& path : paths) {
    struct stat about {};
    if (stat(path.c_str(), &about) != 0) about = {};
    absl::StrAppend(&signature, about.st_dev, ":", about.st_ino, ":", about.st_size, ":",
                    about.st_mtim.tv_sec, ".", about.st_mtim.tv_nsec, ":", about.st_ctim.tv_sec,
                    ".", about.st_ctim.tv_nsec, " ");
  }
  return signature;
}

}  // namespace

FileWatcher::~FileWatcher() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void FileWatcher::Watch(std::vector<std::string> paths, std::function<void()> changed) {
  std::string signature = SignatureOf(paths);
  groups_.push_back({std::move(paths), std::move(changed), std::move(signature)});
}

void FileWatcher::Start() {
  if (!groups_.empty()) thread_ = std::thread(&FileWatcher::Run, this);
}

void FileWatcher::Look() {
  for (Group& group : groups_) {
    std::string signature = SignatureOf(group.paths);
    if (signature == group.signature) continue;
    group.signature = std::move(signature);
    group.changed();
  }
}

void FileWatcher::ChangeAll() {
  const std::lock_guard lock(mutex_);
  for (Group& group : groups_) {
    group.signature = SignatureOf(group.paths);
    group.changed();
  }
}

void FileWatcher::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, absl::ToChronoMilliseconds(kPeriod), [this] { return stop_; })) {
    Look();
  }
}

}  // namespace lossd
