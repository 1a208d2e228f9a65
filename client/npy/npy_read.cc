#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <new>
#include <optional>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "client/npy/npy.h"
#include "client/npy/npy_header.h"
#include "lossd/status_macros.h"

namespace lossd::npy {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are little-endian in memory");

absl::Status At(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

struct Mapping {
  ByteSpan bytes;
  std::shared_ptr<const void> memory;
};

absl::StatusOr<Mapping> Map(const std::string& path) {
  const auto system_error = [&](const char* what) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path, ": ", what));
  };
  // Not blocking: opening a pipe without a writer would wait for ever.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return system_error("cannot be opened");
  const absl::Cleanup close_file = [file] { close(file); };
  struct stat info;
  if (fstat(file, &info) != 0) return system_error("cannot be examined");
  if (S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a directory; wanted a .npy file"));
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is not a regular file; wanted a .npy file on a disk"));
  }
  if (info.st_size == 0) return Mapping{};
  const auto size = static_cast<size_t>(info.st_size);
  void* const memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  if (memory == MAP_FAILED) return system_error("cannot be mapped");
  return Mapping{ByteSpan(static_cast<const std::byte*>(memory), size),
                 std::shared_ptr<const void>(
                     memory, [size](const void* m) { munmap(const_cast<void*>(m), size); })};
}

absl::StatusOr<NpyTensor> Swapped(const TensorView& tensor) {
  const size_t size = tensor.bytes.size();
  std::shared_ptr<std::byte[]> memory(new (std::nothrow) std::byte[size]);
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for the ", size, " bytes of its elements"));
  }
  const auto width = static_cast<size_t>(SizeOf(tensor.desc.dtype));
  for (size_t i = 0; i < size; i += width) {
    std::reverse_copy(tensor.bytes.begin() + i, tensor.bytes.begin() + i + width, &memory[i]);
  }
  return NpyTensor({tensor.desc, ByteSpan(memory.get(), size)}, memory);
}

absl::StatusOr<NpyTensor> ToTensor(Mapping mapping) {
  LOSSD_ASSIGN_OR_RETURN(NpyHeader header, ParseHeader(mapping.bytes));
  const std::string what =
      absl::StrCat(std::string(Name(header.desc.dtype)), " ", ShapeString(header.desc.shape));
  const std::optional<int64_t> wanted = ByteCount(header.desc);
  if (!wanted) return absl::InvalidArgumentError(absl::StrCat("shape is too large: ", what));
  const int64_t got = static_cast<int64_t>(mapping.bytes.size()) - header.size;
  if (got != *wanted) {
    return absl::InvalidArgumentError(
        absl::StrCat(got < *wanted ? "is cut short: " : "is too long: ", got,
                     " bytes of elements; ", what, " has ", *wanted));
  }
  TensorView view{std::move(header.desc), mapping.bytes.subspan(header.size)};
  if (header.big_endian) return Swapped(view);
  return NpyTensor(std::move(view), std::move(mapping.memory));
}

}  // namespace

absl::StatusOr<NpyTensor> ReadNpy(const std::string& path) {
  LOSSD_ASSIGN_OR_RETURN(Mapping mapping, Map(path));
  absl::StatusOr<NpyTensor> tensor = ToTensor(std::move(mapping));
  if (!tensor.ok()) return At(path, tensor.status());
  return tensor;
}

}  // namespace lossd::npy
