#ifndef LOSSD_CLIENT_GRPC_BEARER_TOKEN_H_
#define LOSSD_CLIENT_GRPC_BEARER_TOKEN_H_

#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lossd/client.h"

namespace lossd {

// The token that a client's calls bring. It is never part of an error. Thread-safe.
class BearerToken {
 public:
  // That of options.token or options.token_file; null where neither is given. kInvalidArgument:
  // both are given, or there is not one token, and why.
  static absl::StatusOr<std::shared_ptr<BearerToken>> Of(const ClientOptions& options);

  struct Reading {
    std::string token;
    absl::Status status;  // not OK: the file cannot be used, and why; the token was read before
  };
  // Reads the file again.
  Reading Read();

 private:
  BearerToken(std::string file, std::string token)
      : file_(std::move(file)), last_(std::move(token)) {}

  const std::string file_;  // empty: none
  std::mutex mutex_;
  std::string last_;  // the last that could be read
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_BEARER_TOKEN_H_
