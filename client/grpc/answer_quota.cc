#include "client/grpc/answer_quota.h"

#include <algorithm>

namespace lossd {
namespace {

// The windows of a connection that is not read yet (16 MiB for it and for each of a few calls),
// and what gRPC keeps ready to read into.
constexpr int64_t kBaseBytes = 64 << 20;

// Slices are held as long as any byte of them is, and messages until they are copied.
constexpr int64_t kSlack = 2;

constexpr int64_t kMostBytes = int64_t{1} << 46;

}  // namespace

AnswerQuota::AnswerQuota() : quota_("lossd.client") { quota_.Resize(kBaseBytes); }

void AnswerQuota::Expect(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  expected_ += bytes;
  quota_.Resize(kBaseBytes + kSlack * std::min(expected_, kMostBytes));
}

}  // namespace lossd
