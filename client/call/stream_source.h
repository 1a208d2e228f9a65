#ifndef LOSSD_CLIENT_CALL_STREAM_SOURCE_H_
#define LOSSD_CLIENT_CALL_STREAM_SOURCE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "client/call/compute_job.h"
#include "client/transport/transport.h"
#include "protos/wire/request_codec.h"

namespace lossd {

// The messages of one attempt, one after the other: header, side tensors in pieces, the blocks that
// are not answered yet. Encodes each when it is asked for. Without a geometry: the header alone.
class StreamSource {
 public:
  // Both outlive this. `ledger` is nullptr without a geometry.
  StreamSource(const ComputeJob& job, const BlockLedger* ledger);

  struct Part {
    grpc::ByteBuffer message;
    bool last = false;
  };
  // Precondition: no last part was returned yet.
  absl::StatusOr<Part> Next();

  // Whether a block was returned by Next.
  bool WasSent(int64_t index) const { return index < next_block_ && !ledger_->answered(index); }

 private:
  struct Side {
    SideKind kind;
    ByteSpan bytes;
  };

  absl::StatusOr<grpc::ByteBuffer> EncodeNext();
  absl::StatusOr<grpc::ByteBuffer> Header() const;
  absl::StatusOr<grpc::ByteBuffer> NextSidePiece();
  absl::StatusOr<grpc::ByteBuffer> NextBlock();

  const ComputeJob& job_;
  const BlockLedger* ledger_;
  bool header_sent_ = false;
  std::vector<Side> sides_;
  size_t side_ = 0;         // of the next piece
  size_t side_offset_ = 0;  // likewise
  int64_t next_block_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_STREAM_SOURCE_H_
