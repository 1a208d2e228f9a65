#ifndef LOSSD_SERVER_FRONT_AUTHENTICATOR_H_
#define LOSSD_SERVER_FRONT_AUTHENTICATOR_H_

#include <grpcpp/server_context.h>

#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lossd {

// Who may call: whoever brings one of the tokens of a file as "authorization: Bearer TOKEN", or,
// without a file, everybody. Keeps hashes only, and neither tokens nor what was brought instead of
// one appear in errors. Thread-safe.
//
// The form of the file: core/files/token_file.h.
class Authenticator {
 public:
  // Everybody may call.
  Authenticator() = default;

  // kInvalidArgument names the file, the line and what is wrong; also if there is no token.
  static absl::StatusOr<std::unique_ptr<Authenticator>> FromFile(const std::string& path);

  // Reads the file again; calls already begun go on. If it cannot be used, nothing changes.
  absl::Status Reload();

  // kUnauthenticated for a call that may not be made. Looks at the metadata alone, so it can be
  // asked before a message is read.
  absl::Status Authenticate(const grpc::ServerContext& context) const;

 private:
  using Hash = std::array<unsigned char, 32>;  // SHA-256

  static absl::StatusOr<std::vector<Hash>> Read(const std::string& path);
  bool Knows(std::string_view token) const;

  std::string path_;  // empty: everybody
  mutable std::mutex mutex_;
  std::shared_ptr<const std::vector<Hash>> hashes_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_FRONT_AUTHENTICATOR_H_
