#ifndef LOSSD_CLIENT_GRPC_ANSWER_QUOTA_H_
#define LOSSD_CLIENT_GRPC_ANSWER_QUOTA_H_

#include <grpcpp/resource_quota.h>
#include <grpcpp/support/channel_arguments.h>

#include <cstdint>
#include <mutex>

namespace lossd {

// What gRPC may hold of what one channel received: a base, and what the calls under way expect.
//
// gRPC 1.51 compares a message with the largest that is allowed when all of it has come, and opens
// the window for whatever length its first five bytes declare. What it reads is charged to the
// channel's resource quota, though, and where that is overdrawn it resets calls of the channel, the
// endless one soon among them. (docs/adr/030) Thread-safe.
class AnswerQuota {
 public:
  AnswerQuota();

  void AddTo(grpc::ChannelArguments& arguments) const { arguments.SetResourceQuota(quota_); }

  // The calls under way expect `bytes` more; less, where that is negative.
  void Expect(int64_t bytes);

 private:
  grpc::ResourceQuota quota_;
  std::mutex mutex_;
  int64_t expected_ = 0;
};

// Expects the bytes of one call while it lives.
class ExpectedAnswer {
 public:
  ExpectedAnswer(AnswerQuota& quota, int64_t bytes) : quota_(quota), bytes_(bytes) {
    quota_.Expect(bytes_);
  }
  ~ExpectedAnswer() { quota_.Expect(-bytes_); }
  ExpectedAnswer(const ExpectedAnswer&) = delete;
  ExpectedAnswer& operator=(const ExpectedAnswer&) = delete;

 private:
  AnswerQuota& quota_;
  const int64_t bytes_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_ANSWER_QUOTA_H_
