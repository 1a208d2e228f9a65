#include "server/shared_memory/shared_region.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

constexpr int kWantedSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr int kReadOnlySeals = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;

}  // namespace

SharedCount::SharedCount(std::shared_ptr<SharedAmount> all, std::shared_ptr<SharedAmount> of_peer,
                         int64_t bytes)
    : all_(std::move(all)), of_peer_(std::move(of_peer)), bytes_(bytes) {
  for (SharedAmount* const amount : {all_.get(), of_peer_.get()}) {
    ++amount->regions;
    amount->bytes += bytes_;
  }
}

SharedCount::~SharedCount() {
  for (SharedAmount* const amount : {all_.get(), of_peer_.get()}) {
    --amount->regions;
    amount->bytes -= bytes_;
  }
}

// Huge pages of hugetlbfs may be missing when they are touched, which ends the process: memory of
// any other file system than that of memfd_create is refused.
absl::StatusOr<SharedRegion::Facts> SharedRegion::Inspect(int fd) {
  struct statfs system {};
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || fstatfs(fd, &system) != 0 || system.f_type != TMPFS_MAGIC) {
    return absl::InvalidArgumentError(
        "the descriptor is not of shared memory; wanted one of memfd_create without huge pages");
  }
  if ((seals & kWantedSeals) != kWantedSeals) {
    return absl::InvalidArgumentError(
        absl::StrCat("the seals of the memory are ", seals,
                     "; wanted F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_SEAL"));
  }
  struct stat status {};
  const int mode = fcntl(fd, F_GETFL);
  if (mode < 0 || fstat(fd, &status) != 0) {
    return absl::InvalidArgumentError("the size of the memory cannot be told");
  }
  if (status.st_size < 1) return absl::InvalidArgumentError("the memory is empty");
  const bool writable = (seals & kReadOnlySeals) == 0 && (mode & O_ACCMODE) == O_RDWR;
  return Facts{status.st_size, writable, status.st_dev, status.st_ino};
}

absl::StatusOr<std::shared_ptr<const SharedRegion>> SharedRegion::Map(
    int fd, const Facts& facts, ByteBudget::Grant grant, std::unique_ptr<SharedCount> count) {
  const int access = facts.writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* const data =
      mmap(nullptr, static_cast<size_t>(facts.bytes), access, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (data == MAP_FAILED) {
    if (errno == ENOMEM) return absl::UnavailableError("no memory to map the region");
    return absl::InvalidArgumentError("the memory cannot be mapped; wanted it readable");
  }
  std::shared_ptr<SharedRegion> region(new SharedRegion(static_cast<std::byte*>(data), facts));
  region->grant_ = std::move(grant);
  region->count_ = std::move(count);
  return std::shared_ptr<const SharedRegion>(std::move(region));
}

SharedRegion::~SharedRegion() { munmap(data_, static_cast<size_t>(facts_.bytes)); }

absl::Status SharedRegion::CheckRange(uint64_t offset, int64_t size) const {
  const auto all = static_cast<uint64_t>(facts_.bytes);
  const auto wanted = static_cast<uint64_t>(size);
  if (size >= 0 && offset <= all && wanted <= all - offset) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("takes ", size, " bytes from ", offset, " on; its region has ", all));
}

absl::StatusOr<ByteSpan> SharedRegion::Read(uint64_t offset, int64_t size) const {
  LOSSD_RETURN_IF_ERROR(CheckRange(offset, size));
  return ByteSpan(data_ + offset, static_cast<size_t>(size));
}

absl::StatusOr<MutableByteSpan> SharedRegion::Write(uint64_t offset, int64_t size) const {
  LOSSD_RETURN_IF_ERROR(CheckRange(offset, size));
  if (!facts_.writable) {
    return absl::InvalidArgumentError("is to be written to a region that may only be read");
  }
  return MutableByteSpan(data_ + offset, static_cast<size_t>(size));
}

}  // namespace lossd
