#include "client/grpc/bearer_token.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/files/token_file.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

absl::StatusOr<std::string> OnlyTokenOf(const std::string& path) {
  const NamedFile file{"token_file", path};
  LOSSD_ASSIGN_OR_RETURN(std::vector<Token> tokens, ReadTokens(file));
  if (tokens.size() == 1) return std::move(tokens.front().text);
  if (tokens.empty()) return CannotUse(file, "has no token");
  return CannotUse(file, absl::StrCat("has ", tokens.size(), " tokens; wanted one"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<BearerToken>> BearerToken::Of(const ClientOptions& options) {
  const auto make = [&](std::string token) {
    return std::shared_ptr<BearerToken>(new BearerToken(options.token_file, std::move(token)));
  };
  if (!options.token_file.empty()) {
    if (!options.token.empty()) {
      return absl::InvalidArgumentError("token and token_file are both given; wanted one");
    }
    LOSSD_ASSIGN_OR_RETURN(std::string token, OnlyTokenOf(options.token_file));
    return make(std::move(token));
  }
  if (options.token.empty()) return nullptr;
  if (const absl::string_view fault = FaultOfToken(options.token); !fault.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("token ", fault));
  }
  return make(options.token);
}

BearerToken::Reading BearerToken::Read() {
  if (file_.empty()) return {last_, absl::OkStatus()};
  absl::StatusOr<std::string> read = OnlyTokenOf(file_);
  const std::lock_guard lock(mutex_);
  if (!read.ok()) return {last_, read.status()};
  last_ = *std::move(read);
  return {last_, absl::OkStatus()};
}

}  // namespace lossd
