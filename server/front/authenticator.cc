#include "server/front/authenticator.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "core/files/token_file.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

constexpr absl::string_view kScheme = "bearer ";

}  // namespace

absl::StatusOr<std::vector<Authenticator::Hash>> Authenticator::Read(const std::string& path) {
  LOSSD_ASSIGN_OR_RETURN(const std::vector<std::string> tokens,
                         ReadTokens({"--auth-token-file", path}));
  std::vector<Hash> hashes(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    SHA256(reinterpret_cast<const unsigned char*>(tokens[i].data()), tokens[i].size(),
           hashes[i].data());
  }
  return hashes;
}

absl::StatusOr<std::unique_ptr<Authenticator>> Authenticator::FromFile(const std::string& path) {
  auto authenticator = std::make_unique<Authenticator>();
  authenticator->path_ = path;
  LOSSD_RETURN_IF_ERROR(authenticator->Reload());
  return authenticator;
}

absl::Status Authenticator::Reload() {
  if (path_.empty()) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(std::vector<Hash> read, Read(path_));
  auto hashes = std::make_shared<const std::vector<Hash>>(std::move(read));
  const std::lock_guard lock(mutex_);
  hashes_ = std::move(hashes);
  return absl::OkStatus();
}

// Hashes are compared, and all of them, so that the time tells neither how much of a guess was
// right nor how long a token is.
bool Authenticator::Knows(std::string_view token) const {
  std::shared_ptr<const std::vector<Hash>> hashes;
  {
    const std::lock_guard lock(mutex_);
    hashes = hashes_;
  }
  Hash hash;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  unsigned known = 0;
  for (const Hash& one : *hashes) {
    known |= static_cast<unsigned>(CRYPTO_memcmp(one.data(), hash.data(), hash.size()) == 0);
  }
  return known != 0;
}

absl::Status Authenticator::Authenticate(const grpc::ServerContext& context) const {
  if (path_.empty()) return absl::OkStatus();
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  if (begin == end) {
    return absl::UnauthenticatedError(
        "the call has no token; wanted metadata authorization: Bearer TOKEN");
  }
  const absl::string_view value(begin->second.data(), begin->second.size());
  if (std::next(begin) != end || !absl::StartsWithIgnoreCase(value, kScheme)) {
    return absl::UnauthenticatedError(
        "the authorization of the call is of another form; wanted Bearer TOKEN, once");
  }
  if (!Knows({value.data() + kScheme.size(), value.size() - kScheme.size()})) {
    return absl::UnauthenticatedError("the token of the call is not one this server knows");
  }
  return absl::OkStatus();
}

}  // namespace lossd
