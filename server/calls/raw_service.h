#ifndef LOSSD_SERVER_CALLS_RAW_SERVICE_H_
#define LOSSD_SERVER_CALLS_RAW_SERVICE_H_

#include <grpcpp/completion_queue.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/byte_buffer.h>

#include "server/admission/method.h"

namespace lossd {

// The service with all methods raw: messages are coded by lossd::wire. Unary methods are registered
// as client-streaming, which is identical on the wire: gRPC reads the message of a unary method
// before it shows the call, whatever its size, but that of a stream only when it is asked to.
class RawLossService final : public grpc::Service {
 public:
  using UnaryReader = grpc::ServerAsyncReader<grpc::ByteBuffer, grpc::ByteBuffer>;
  using Stream = grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

  RawLossService();

  // The next call: `tag` comes from `queue` once it is there, as will all about it.
  void RequestUnary(Method method, grpc::ServerContext* context, UnaryReader* reader,
                    grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncClientStreaming(static_cast<int>(method), context, reader, queue, queue, tag);
  }
  void RequestComputeStream(grpc::ServerContext* context, Stream* stream,
                            grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncBidiStreaming(static_cast<int>(Method::kComputeStream), context, stream, queue,
                              queue, tag);
  }
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_RAW_SERVICE_H_
