#ifndef LOSSD_SERVER_SECURITY_AUTHENTICATOR_H_
#define LOSSD_SERVER_SECURITY_AUTHENTICATOR_H_

#include <grpcpp/server_context.h>

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace lossd {

// Decides which calls are let in: those that bring one of the tokens of a file, before it expires,
// as "authorization: Bearer TOKEN"; without a file, all. Keeps hashes only, and neither tokens nor
// what was brought instead of one appear in errors. Thread-safe.
//
// The form of the file: core/files/token_file.h.
class Authenticator {
 public:
  // Lets all calls in.
  Authenticator() = default;

  // kInvalidArgument names the file, the line and what is wrong; also if there is no token. `now`
  // is called from any thread.
  static absl::StatusOr<std::unique_ptr<Authenticator>> FromFile(
      const std::string& path, std::function<absl::Time()> now = absl::Now);

  // Reads the file again; calls already begun go on. If it cannot be used, nothing changes. If it
  // has no token any more, no call is let in.
  absl::Status Reload();

  // Whether a file is in force that has no token.
  bool AdmitsNobody() const;

  // Returns the name of the token, else of the client's certificate (its first alternative name,
  // else its common name), else "". kUnauthenticated for a call that may not be made. Looks at
  // metadata and connection alone, so it can be called before a message is read.
  absl::StatusOr<std::string> Authenticate(const grpc::ServerContext& context) const;

 private:
  using Hash = std::array<unsigned char, 32>;  // SHA-256
  struct Entry {
    Hash hash;
    std::string name;
    absl::Time expires;
  };
  using Entries = std::vector<Entry>;

  static absl::StatusOr<Entries> Read(const std::string& path);
  std::shared_ptr<const Entries> entries() const;
  absl::StatusOr<std::string> NameOfToken(std::string_view token) const;

  std::string path_;  // empty: all calls are let in
  std::function<absl::Time()> now_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Entries> entries_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_SECURITY_AUTHENTICATOR_H_
