#include "server/security/authenticator.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/files/token_file.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

constexpr absl::string_view kScheme = "bearer ";

std::array<unsigned char, SHA256_DIGEST_LENGTH> HashOf(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data());
  return hash;
}

std::string NameOfCertificate(const grpc::ServerContext& context) {
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return "";
  const std::vector<grpc::string_ref> names = peer->GetPeerIdentity();
  return names.empty() ? "" : std::string(names.front().data(), names.front().size());
}

// What the call brings; kUnauthenticated where that is not one token.
absl::StatusOr<std::string_view> TokenOfCall(const grpc::ServerContext& context) {
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
  return std::string_view(value.data() + kScheme.size(), value.size() - kScheme.size());
}

}  // namespace

absl::StatusOr<Authenticator::Entries> Authenticator::Read(const std::string& path) {
  LOSSD_ASSIGN_OR_RETURN(std::vector<Token> tokens, ReadTokens({"--auth-token-file", path}));
  Entries entries;
  for (Token& token : tokens) {
    entries.push_back({HashOf(token.text), std::move(token.name), token.expires});
  }
  return entries;
}

absl::StatusOr<std::unique_ptr<Authenticator>> Authenticator::FromFile(
    const std::string& path, std::function<absl::Time()> now) {
  auto authenticator = std::make_unique<Authenticator>();
  authenticator->path_ = path;
  authenticator->now_ = std::move(now);
  LOSSD_RETURN_IF_ERROR(authenticator->Reload());
  if (authenticator->AdmitsNobody()) {
    return CannotUse({"--auth-token-file", path}, "has no token");
  }
  return authenticator;
}

absl::Status Authenticator::Reload() {
  if (path_.empty()) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(Entries read, Read(path_));
  auto entries = std::make_shared<const Entries>(std::move(read));
  const std::lock_guard lock(mutex_);
  entries_ = std::move(entries);
  return absl::OkStatus();
}

std::shared_ptr<const Authenticator::Entries> Authenticator::entries() const {
  const std::lock_guard lock(mutex_);
  return entries_;
}

bool Authenticator::AdmitsNobody() const { return !path_.empty() && entries()->empty(); }

// Hashes are compared, and all of them, so that the time tells neither how much of a guess was
// right nor how long a token is.
absl::StatusOr<std::string> Authenticator::NameOfToken(std::string_view token) const {
  const std::shared_ptr<const Entries> entries = this->entries();
  const Hash hash = HashOf(token);
  const Entry* known = nullptr;
  for (const Entry& one : *entries) {
    if (CRYPTO_memcmp(one.hash.data(), hash.data(), hash.size()) == 0) known = &one;
  }
  if (known == nullptr) {
    return absl::UnauthenticatedError("the token of the call is not one this server knows");
  }
  if (now_() >= known->expires) {
    return absl::UnauthenticatedError(
        absl::StrCat("the token of the call expired at ",
                     absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", known->expires, absl::UTCTimeZone())));
  }
  return known->name;
}

absl::StatusOr<std::string> Authenticator::Authenticate(const grpc::ServerContext& context) const {
  std::string name;
  if (!path_.empty()) {
    LOSSD_ASSIGN_OR_RETURN(const std::string_view token, TokenOfCall(context));
    LOSSD_ASSIGN_OR_RETURN(name, NameOfToken(token));
  }
  return name.empty() ? NameOfCertificate(context) : name;
}

}  // namespace lossd
