#include "client/call/compute_call.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/call/answer_size.h"
#include "client/call/block_io.h"
#include "lossd/status_macros.h"
#include "protos/wire/request_codec.h"
#include "protos/wire/response_codec.h"

namespace lossd {
namespace {

// Bytes of a reply beside its tensors: the sums, the counts, the descriptions.
constexpr int64_t kReplyEnvelopeBytes = 2 << 10;

constexpr int kMaxFanOut = 256;

// The reason of a server that does not know a region.
constexpr char kUnknownRegion[] = "UNKNOWN_REGION";

// How often CallOptions::stop is asked.
constexpr absl::Duration kQuestions = absl::Milliseconds(50);

int64_t RequestDataBytes(const LossInputs& in) {
  int64_t bytes = 0;
  ForEachTensor(in, [&bytes](const TensorFacts&, const TensorView& view) {
    bytes += static_cast<int64_t>(view.bytes.size());
  });
  return bytes;
}

}  // namespace

ComputeCall::ComputeCall(const LossSpec& spec, const LossInputs& inputs, const LossOutputs& into,
                         const ClientOptions& options, const CallOptions& call,
                         SharedRegions* regions)
    : job_{.spec = spec,
           .inputs = inputs,
           .into = into,
           .geometry = GeometryOf(spec, inputs),
           .block_bytes = options.block_bytes,
           .progress = call.progress,
           .loans = {}},
      mode_(call.mode),
      parts_(call.fan_out),
      unary_limit_bytes_(options.unary_limit_bytes),
      regions_(call.mode == TransferMode::kStream ? nullptr : regions),
      stop_(call.stop) {
  job_.spec.outputs = OutputsFor(into);
}

absl::Status ComputeCall::Check() const {
  if (parts_ < 1 || parts_ > kMaxFanOut) {
    return absl::InvalidArgumentError(
        absl::StrCat("fan_out is ", parts_, "; wanted 1..", kMaxFanOut));
  }
  return CheckMemory(job_.inputs, job_.geometry, job_.into);
}

void ComputeCall::Start(Driver& driver, Replay replay, Done done) {
  if (!stop_) return Begin(driver, std::move(replay), std::move(done));
  if (stop_()) return done(StoppedError());
  AskAgain(driver);
  Begin(driver, std::move(replay),
        [this, &driver, done = std::move(done)](absl::StatusOr<LossResult> result) {
          if (!stopped_) driver.Cancel(next_question_);
          done(std::move(result));
        });
}

void ComputeCall::AskAgain(Driver& driver) {
  next_question_ = driver.At(driver.transport().Now() + kQuestions, [this, &driver] {
    stopped_ = stop_();
    stopped_ ? Stop() : AskAgain(driver);
  });
}

void ComputeCall::Stop() {
  if (fan_out_ != nullptr) return fan_out_->Stop();
  if (attempts_->Stop()) return;
  if (stream_ != nullptr) return stream_->Cancel();
  if (cancel_unary_) cancel_unary_();
}

void ComputeCall::Begin(Driver& driver, Replay replay, Done done) {
  if (absl::Status checked = Check(); !checked.ok()) return done(std::move(checked));
  if (regions_ != nullptr && !RegionCall::Find(job_, *regions_)) regions_ = nullptr;
  if (regions_ == nullptr) {
    if (absl::Status chosen = ChooseWay(); !chosen.ok()) return done(std::move(chosen));
  }
  if (unary_ == false && parts_ > 1 && driver.transport().TakesParts() && job_.geometry &&
      job_.geometry->positions() > 0) {
    fan_out_ = std::make_unique<FanOut>(job_, parts_);
    return fan_out_->Start(driver, std::move(replay), std::move(done));
  }
  done_ = std::move(done);
  attempts_.emplace(driver, std::move(replay));
  attempts_->Run(
      job_.loans, [this](Report report) { Attempt(std::move(report)); },
      [this](const absl::Status& status) { Ended(status); });
}

void ComputeCall::Attempt(Report report) {
  if (regions_ != nullptr && AttemptInRegions(report)) return;
  if (!unary_) {
    if (absl::Status chosen = ChooseWay(); !chosen.ok()) return report(std::move(chosen));
  }
  *unary_ ? AttemptUnary(std::move(report)) : AttemptStream(std::move(report));
}

// False: the memory cannot be shared any more, and the call goes the usual way.
bool ComputeCall::AttemptInRegions(Report& report) {
  static const auto& method = *new std::string(kComputeMethod);
  region_call_ = RegionCall::Find(job_, *regions_);
  if (!region_call_) {
    regions_ = nullptr;
    return false;
  }
  absl::StatusOr<grpc::ByteBuffer> request = region_call_->Request();
  if (!request.ok()) {
    report(request.status());
    return true;
  }
  report_ = std::move(report);
  Driver& driver = attempts_->driver();
  driver.transport().Unary(
      driver.queue(),
      {method, attempts_->deadline(), WholeAnswerBytes(job_) + kAnswerRoomBytes, &cancel_unary_},
      *request, [this](const absl::StatusOr<wire::Message>& answer) {
        cancel_unary_ = nullptr;
        TakeInRegions(answer);
      });
  return true;
}

void ComputeCall::TakeInRegions(const absl::StatusOr<wire::Message>& answer) {
  Report report = std::move(report_);
  const RegionCall call = *std::exchange(region_call_, std::nullopt);
  if (!answer.ok() && LossReason(answer.status()) == kUnknownRegion) {
    call.Forget();
    if (std::exchange(shared_anew_, true)) regions_ = nullptr;  // another server, it seems
    return Attempt(std::move(report));
  }
  absl::Status taken = TakeAnswer(answer, &call);
  report(taken.ok() ? std::move(taken) : call.AfterFailure(std::move(taken)));
}

void ComputeCall::Ended(const absl::Status& status) {
  const Done done = std::move(done_);
  if (!status.ok()) return done(status);
  done(std::move(result_));
}

absl::Status ComputeCall::ChooseWay() {
  LOSSD_ASSIGN_OR_RETURN(unary_, ChooseUnary());
  if (!*unary_ && job_.geometry) {
    ledger_ = std::make_unique<BlockLedger>(BlockPlan(*job_.geometry, job_.block_bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ComputeCall::ChooseUnary() {
  if (mode_ != TransferMode::kAuto) return mode_ == TransferMode::kUnary;
  if (RequestDataBytes(job_.inputs) > unary_limit_bytes_ ||
      WholeAnswerBytes(job_) + kReplyEnvelopeBytes > unary_limit_bytes_) {
    return false;
  }
  absl::StatusOr<grpc::ByteBuffer> request = UnaryRequest();
  if (!request.ok()) return request.status();
  const bool fits = static_cast<int64_t>(request->Length()) <= unary_limit_bytes_;
  if (fits) first_request_.emplace().Swap(&*request);
  return fits;
}

absl::StatusOr<grpc::ByteBuffer> ComputeCall::UnaryRequest() const {
  const auto lend = [this](const TensorFacts&, const TensorView& view) {
    return wire::OutgoingTensor{view.desc.dtype, view.desc.shape, view.desc.layout,
                                job_.loans.Lend(view.bytes)};
  };
  return wire::EncodeComputeRequest(job_.spec, MapTensors<wire::OutgoingTensor>(job_.inputs, lend));
}

void ComputeCall::AttemptUnary(Report report) {
  static const auto& method = *new std::string(kComputeMethod);
  absl::StatusOr<grpc::ByteBuffer> request = first_request_ ? grpc::ByteBuffer() : UnaryRequest();
  if (!request.ok()) return report(request.status());
  if (first_request_) request->Swap(&*first_request_);
  first_request_.reset();
  report_ = std::move(report);
  Driver& driver = attempts_->driver();
  driver.transport().Unary(
      driver.queue(),
      {method, attempts_->deadline(), WholeAnswerBytes(job_) + kAnswerRoomBytes, &cancel_unary_},
      *request, [this](const absl::StatusOr<wire::Message>& answer) {
        cancel_unary_ = nullptr;
        const Report report = std::move(report_);
        report(TakeAnswer(answer, nullptr));
      });
}

absl::Status ComputeCall::TakeAnswer(const absl::StatusOr<wire::Message>& answer,
                                     const RegionCall* call) {
  if (!answer.ok()) return answer.status();
  LOSSD_ASSIGN_OR_RETURN(wire::DecodedResponse response, wire::DecodeComputeResponse(*answer));
  LOSSD_RETURN_IF_ERROR(call == nullptr ? PlaceWhole(response.outputs, job_.into)
                                        : call->Place(response));
  result_ = std::move(response.result);
  if (job_.progress && job_.geometry) {
    const int64_t total = job_.geometry->predictions_bytes();
    job_.progress(total, total);
  }
  return absl::OkStatus();
}

void ComputeCall::AttemptStream(Report report) {
  stream_ = std::make_unique<StreamAttempt>(
      job_, ledger_.get(), [this, report = std::move(report)](absl::StatusOr<LossResult> outcome) {
        stream_.reset();  // and with it what it holds of the caller's memory
        const absl::Status status = outcome.status();
        if (status.ok()) result_ = *std::move(outcome);
        report(status);
      });
  stream_->Start(attempts_->driver(), attempts_->deadline());
}

}  // namespace lossd
