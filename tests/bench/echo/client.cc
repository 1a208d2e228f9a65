#include "tests/bench/echo/client.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "tests/bench/echo/settings.h"
#include "tests/bench/tensors.h"
#include "tests/bench/timing.h"

namespace lossd::bench {
namespace {

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "bench: echo: %s\n", what.c_str());
  std::exit(1);
}

grpc::ByteBuffer Lend(ByteSpan bytes) {
  const grpc::Slice slice(const_cast<std::byte*>(bytes.data()), bytes.size(),
                          grpc::Slice::STATIC_SLICE);
  return grpc::ByteBuffer(&slice, 1);
}

// Copies a message to `to`; returns its size.
size_t CopyOut(const grpc::ByteBuffer& message, MutableByteSpan to) {
  std::vector<grpc::Slice> slices;
  if (!message.Dump(&slices).ok()) Die("a message without slices");
  size_t at = 0;
  for (const grpc::Slice& slice : slices) {
    if (at + slice.size() > to.size()) Die("more came back than was sent");
    std::memcpy(to.data() + at, slice.begin(), slice.size());
    at += slice.size();
  }
  return at;
}

enum Operation : intptr_t { kStart = 1, kRead, kWrite, kFinish };
void* TagOf(intptr_t operation) { return reinterpret_cast<void*>(operation); }

}  // namespace

EchoProcess::EchoProcess() : process_({LOSSD_BENCH_ECHO}) {
  constexpr std::string_view kListening = "echo: listening on ";
  const std::optional<std::string> line = process_.ReadLine();
  if (!line || line->rfind(kListening, 0) != 0) Die("the server did not say where it listens");
  address_ = line->substr(kListening.size());
}

EchoClient::EchoClient(const std::string& address) {
  grpc::ChannelArguments arguments;
  ForEachEchoArgument([&](const char* name, int value) { arguments.SetInt(name, value); });
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16 << 20);
  stub_ = std::make_unique<grpc::GenericStub>(
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
}

void EchoClient::Unary(ByteSpan from, MutableByteSpan to) { Flood(from, to, 1, 1); }

void EchoClient::Stream(ByteSpan from, MutableByteSpan to, size_t chunk) {
  Bidirectional(kEchoStream, from, to, chunk);
}

void EchoClient::Sink(ByteSpan from, size_t chunk) { Bidirectional(kSinkStream, from, {}, chunk); }

void EchoClient::Bidirectional(const std::string& method, ByteSpan from, MutableByteSpan to,
                               size_t chunk) {
  grpc::ClientContext context;
  context.set_initial_metadata_corked(true);
  const auto call = stub_->PrepareCall(&context, method, &queue_);
  grpc::ByteBuffer received;
  grpc::Status status;
  size_t sent = 0;
  size_t got = 0;
  const auto write = [&] {
    const size_t size = std::min(chunk, from.size() - sent);
    grpc::WriteOptions options;
    if (sent + size == from.size()) options.set_last_message();
    call->Write(Lend(from.subspan(sent, size)), options, TagOf(kWrite));
    sent += size;
  };
  call->StartCall(nullptr);
  call->Read(&received, TagOf(kRead));
  write();
  void* tag = nullptr;
  bool ok = false;
  for (bool finished = false; !finished && queue_.Next(&tag, &ok);) {
    switch (reinterpret_cast<intptr_t>(tag)) {
      case kRead:
        if (!ok) {
          call->Finish(&status, TagOf(kFinish));
          break;
        }
        got += CopyOut(received, to.subspan(got));
        received.Clear();
        call->Read(&received, TagOf(kRead));
        break;
      case kWrite:
        if (ok && sent < from.size()) write();
        break;
      default:
        finished = true;
    }
  }
  if (!status.ok()) Die(status.error_message());
  if (got != to.size()) Die("less came back than was sent");
}

void EchoClient::Flood(ByteSpan from, MutableByteSpan to, int in_flight, int total) {
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
    grpc::ByteBuffer response;
    grpc::Status status;
  };
  std::vector<std::unique_ptr<Call>> calls(in_flight);
  int begun = 0;
  const auto begin = [&](size_t slot) {
    calls[slot] = std::make_unique<Call>();
    Call& call = *calls[slot];
    call.reader = stub_->PrepareUnaryCall(&call.context, kEchoUnary, Lend(from), &queue_);
    call.reader->StartCall();
    call.reader->Finish(&call.response, &call.status, TagOf(static_cast<intptr_t>(slot)));
    ++begun;
  };
  for (size_t slot = 0; slot < calls.size() && begun < total; ++slot) begin(slot);
  for (int ended = 0; ended < total; ++ended) {
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
    const auto slot = static_cast<size_t>(reinterpret_cast<intptr_t>(tag));
    if (!calls[slot]->status.ok()) Die(calls[slot]->status.error_message());
    if (CopyOut(calls[slot]->response, to) != to.size()) Die("less came back than was sent");
    if (begun < total) begin(slot);
  }
}

size_t BestChunk(EchoClient& client, size_t size) {
  const Buffer from(size);
  const Buffer to(size);
  size_t best = 0;
  double fastest = 0;
  for (const size_t chunk :
       {size_t{256} << 10, size_t{1} << 20, size_t{2} << 20, size_t{4} << 20}) {
    std::vector<double> samples;
    for (int i = 0; i < 4; ++i) {
      samples.push_back(Milliseconds([&] { client.Stream(from.span(), to.span(), chunk); }));
    }
    samples.erase(samples.begin());  // the first one warms up
    const double median = Quantile(samples, 0.5);
    if (best != 0 && median >= fastest) continue;
    best = chunk;
    fastest = median;
  }
  return best;
}

}  // namespace lossd::bench
