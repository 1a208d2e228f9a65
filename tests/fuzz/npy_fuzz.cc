// .npy files of any bytes: an array of exactly the bytes that are there, or one error; what was
// written is read back.
//   input: the file

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/npy/npy.h"
#include "client/npy/npy_header.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/memory_file.h"

namespace lossd::fuzz {
namespace {

void CheckReadBack(const TensorView& tensor) {
  const std::string header = npy::FormatHeader(tensor.desc);
  Require(header.size() % 64 == 0, "the elements do not begin at a multiple of 64");
  const auto again =
      npy::ParseHeader(ByteSpan(reinterpret_cast<const std::byte*>(header.data()), header.size()));
  Require(again.ok() && again->desc == tensor.desc && !again->big_endian &&
              again->size == static_cast<int64_t>(header.size()),
          absl::StrCat("a header that was written is not read back: ", again.status().ToString()));
}

}  // namespace

void TestOne(Input input) {
  const std::string bytes = input.Rest();
  const MemoryFile file(bytes);
  const absl::StatusOr<npy::NpyTensor> tensor = npy::ReadNpy(file.path());
  if (!tensor.ok()) {
    Require(tensor.status().code() == absl::StatusCode::kInvalidArgument,
            tensor.status().ToString());
    return;
  }
  const TensorView& view = tensor->view();
  const std::optional<int64_t> wanted = ByteCount(view.desc);
  Require(wanted.has_value() && *wanted == static_cast<int64_t>(view.bytes.size()),
          "an array of another size than its shape says");
  Require(view.bytes.size() < bytes.size(), "more elements than bytes");
  unsigned sum = 0;
  for (const std::byte b : view.bytes) sum += static_cast<unsigned>(b);  // all can be read
  const volatile unsigned kept = sum;
  static_cast<void>(kept);
  CheckReadBack(view);
}

}  // namespace lossd::fuzz
