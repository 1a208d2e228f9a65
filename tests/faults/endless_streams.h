#ifndef LOSSD_TESTS_FAULTS_ENDLESS_STREAMS_H_
#define LOSSD_TESTS_FAULTS_ENDLESS_STREAMS_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lossd/v1/loss.grpc.pb.h"

namespace lossd {

// Streams on one connection that send one block after the other, as fast as they are taken, until
// this goes: their tensors are larger than they will ever send.
class EndlessStreams {
 public:
  // The wire costs more than the computing: long rows of f32, gradients come back.
  static v1::ComputeStreamRequest LargeRows();
  // The computing costs many times what the wire does: rows of two classes with probability
  // targets, in f16, nothing comes back.
  static v1::ComputeStreamRequest ShortRows();

  // Blocks of `rows` rows of what `header` describes.
  EndlessStreams(const std::string& address, int count, const v1::ComputeStreamRequest& header,
                 int64_t rows);
  ~EndlessStreams();
  EndlessStreams(const EndlessStreams&) = delete;
  EndlessStreams& operator=(const EndlessStreams&) = delete;

  // Blocks that were answered so far.
  int64_t answered() const { return answered_; }

  // Streams that ended, which none should.
  int ended() const { return ended_; }

 private:
  struct Stream {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReaderWriter<v1::ComputeStreamRequest, v1::ComputeStreamResponse>>
        stream;
    std::thread writer;
    std::thread reader;
  };

  void Write(Stream& stream, const v1::ComputeStreamRequest& header, int64_t rows) const;
  void Read(Stream& stream);

  std::unique_ptr<v1::LossService::Stub> stub_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> answered_{0};
  std::atomic<int> ended_{0};
};

}  // namespace lossd

#endif  // LOSSD_TESTS_FAULTS_ENDLESS_STREAMS_H_
