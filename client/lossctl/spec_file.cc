#include "client/lossctl/spec_file.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "lossd/spec_text.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

constexpr size_t kMostBytes = size_t{1} << 20;

absl::Status Wrong(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("--spec: ", path, what));
}

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Wrong(path, " cannot be read");
  std::string text(kMostBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMostBytes) return Wrong(path, " has more than 1 MiB; wanted a LossSpec");
  return text;
}

}  // namespace

absl::StatusOr<LossSpec> ReadSpecFile(const std::string& path) {
  LOSSD_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  absl::StatusOr<LossSpec> spec = ParseSpec(text);
  if (!spec.ok()) return Wrong(path, absl::StrCat(":", spec.status().message()));
  return spec;
}

}  // namespace lossd::lossctl
