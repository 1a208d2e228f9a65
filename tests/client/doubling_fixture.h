#ifndef LOSSD_TESTS_CLIENT_DOUBLING_FIXTURE_H_
#define LOSSD_TESTS_CLIENT_DOUBLING_FIXTURE_H_

#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "lossd/client.h"
#include "tests/client/doubling_service.h"

namespace lossd {

// A client of a DoublingService with 6 x 4 x 5 predictions 1, 2, 3, ... and labels.
class Doubling {
 public:
  explicit Doubling(std::vector<Script> scripts = std::vector<Script>(1),
                    const ClientOptions& options = {})
      : service_(std::make_shared<DoublingService>(std::move(scripts))),
        transport_(std::make_shared<LocalTransport>(service_)),
        client_(transport_, options),
        predictions_(kOuter * kClasses * kInner),
        labels_(kOuter * kInner, 1),
        gradient_(predictions_.size(), -1) {
    service_->set_transport(transport_.get());
    std::iota(predictions_.begin(), predictions_.end(), 1.0f);
    for (const float value : predictions_) doubled_.push_back(2 * value);
  }

  static constexpr int64_t kOuter = 6, kClasses = 4, kInner = 5;
  static constexpr int64_t kPlaneBytes = kClasses * kInner * 4;
  static constexpr double kSum = 60 * 121;

  LossInputs inputs() const {
    LossInputs in;
    in.predictions = TensorView::Of<float>(predictions_, {kOuter, kClasses, kInner});
    in.targets = TensorView::Of<int64_t>(labels_, {kOuter, kInner});
    return in;
  }
  LossOutputs into() { return {.gradient = BytesOf(absl::MakeSpan(gradient_))}; }
  LossOutputs in_place() { return {.gradient = BytesOf(absl::MakeSpan(predictions_))}; }

  absl::StatusOr<LossResult> Stream() {
    return client_.Compute({}, inputs(), into(), {.mode = TransferMode::kStream});
  }

  Client& client() { return client_; }
  LocalTransport& transport() { return *transport_; }
  const std::vector<std::shared_ptr<DoublingService::Record>>& records() const {
    return service_->records();
  }
  std::vector<float>& predictions() { return predictions_; }
  const std::vector<float>& gradient() const { return gradient_; }
  const std::vector<float>& doubled() const { return doubled_; }

 private:
  std::shared_ptr<DoublingService> service_;
  std::shared_ptr<LocalTransport> transport_;
  Client client_;
  std::vector<float> predictions_;
  std::vector<int64_t> labels_;
  std::vector<float> gradient_;
  std::vector<float> doubled_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_CLIENT_DOUBLING_FIXTURE_H_
