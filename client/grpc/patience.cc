#include "client/grpc/patience.h"

#include <utility>

#include "absl/time/clock.h"

namespace lossd {

std::shared_ptr<Patience> Patience::Of(grpc::ClientContext& context, GrpcQueue& queue, Look look) {
  if (look() == Prospect::kHere) return nullptr;
  std::shared_ptr<Patience> patience(new Patience(context, queue, std::move(look)));
  patience->Arm(patience);
  return patience;
}

void Patience::Arm(std::shared_ptr<Patience> self) {
  self_ = std::move(self);
  alarm_.Set(queue_.completions(), absl::ToChronoTime(absl::Now() + kPatience), this);
}

void Patience::Stop() {
  context_ = nullptr;
  alarm_.Cancel();
}

void Patience::Run(bool) {
  std::shared_ptr<Patience> self = std::move(self_);
  if (context_ == nullptr) return;
  switch (look_()) {
    case Prospect::kHere:
      return;
    case Prospect::kElsewhere:
      ran_out_ = true;
      context_->TryCancel();
      return;
    case Prospect::kNowhere:
      Arm(std::move(self));
  }
}

}  // namespace lossd
