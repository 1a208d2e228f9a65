// The operator tests of ONNX: SoftmaxCrossEntropyLoss is the softmax loss and
// NegativeLogLikelihoodLoss the nll loss, both with class weights as given (normalisation NONE);
// ONNX's "mean" is WEIGHT_SUM. The data are not part of the sources: LOSSD_CONFORMANCE_DIR, or a
// directory beside the checkout.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "client/npy/npy.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/core/matchers.h"

namespace lossd::oracle {
namespace {

std::filesystem::path DataDirectory() {
  const char* directory = std::getenv("LOSSD_CONFORMANCE_DIR");
  const std::filesystem::path root =
      directory != nullptr ? directory
                           : std::filesystem::path(LOSSD_SOURCE_DIR) / "../shared/conformance";
  return root / "onnx";
}

OwnedTensor Read(const std::string& file) {
  const absl::StatusOr<npy::NpyTensor> tensor = npy::ReadNpy(DataDirectory() / file);
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  if (!tensor.ok()) return {};
  return {tensor->view().desc, {tensor->view().bytes.begin(), tensor->view().bytes.end()}};
}

Reduction ParseReduction(const std::string& name) {
  const std::map<std::string, Reduction> names = {
      {"none", Reduction::kNone}, {"sum", Reduction::kSum}, {"weight_sum", Reduction::kWeightSum}};
  return names.at(name);
}

LossCase CaseOf(const nlohmann::json& entry) {
  LossCase c;
  if (entry.at("loss") == "nll") c.spec.loss = NllLoss{};
  c.spec.reduction = ParseReduction(entry.at("reduction"));
  c.spec.ignore_labels = entry.at("ignore_labels").get<std::vector<int64_t>>();
  c.spec.outputs.position_losses = true;
  c.predictions = Read(entry.at("predictions"));
  c.targets = Read(entry.at("targets"));
  if (entry.contains("class_weights")) {
    c.class_weights = Read(entry.at("class_weights"));
    c.spec.weight_normalization = WeightNormalization::kNone;
  }
  return c;
}

TEST(Conformance, EveryOnnxCase) {
  std::ifstream file(DataDirectory() / "cases.json");
  if (!file) {
    GTEST_SKIP() << "NOT TESTED: there are no conformance data in " << DataDirectory()
                 << "; set LOSSD_CONFORMANCE_DIR to a directory that has onnx/cases.json";
  }
  const nlohmann::json cases = nlohmann::json::parse(file);
  EXPECT_GE(cases.size(), 17u);
  for (const nlohmann::json& entry : cases) {
    SCOPED_TRACE(entry.at("name").get<std::string>());
    const LossCase c = CaseOf(entry);
    const OwnedTensor expected = Read(entry.at("expected"));
    const CoreAnswer core = RunCore(c);
    ASSERT_TRUE(core.status.ok()) << core.status;
    EXPECT_EQ(Disagreement(c, core), "");
    const bool per_position = c.spec.reduction == Reduction::kNone;
    ASSERT_EQ(expected.size(), per_position ? c.targets.size() : 1);
    for (int64_t i = 0; i < expected.size(); ++i) {
      const Real got = per_position
                           ? Widen(DType::kF64, core.outputs.position_losses.bytes().data() + 8 * i)
                           : Real(core.result.loss);
      EXPECT_THAT(got, NearWithin(expected.at(i), 1e-6L + 1e-6L * std::fabs(expected.at(i))));
    }
  }
}

// A nested list of numbers, in its order.
void Flatten(const nlohmann::json& list, std::vector<Real>& numbers) {
  if (!list.is_array()) {
    numbers.push_back(list.get<double>());
    return;
  }
  for (const nlohmann::json& part : list) Flatten(part, numbers);
}

OwnedTensor TensorOf(const nlohmann::json& list) {
  std::vector<int64_t> shape;
  for (const nlohmann::json* at = &list; at->is_array(); at = &at->front()) {
    shape.push_back(static_cast<int64_t>(at->size()));
  }
  std::vector<Real> numbers;
  Flatten(list, numbers);
  return OwnedTensor::Of(DType::kF64, shape, numbers);
}

// Of a loss over elements without options.
LossCase GoldenCase(const Loss& loss, const nlohmann::json& entry) {
  LossCase c;
  c.spec.loss = loss;
  c.predictions = TensorOf(entry.at("inputs").at("predictions"));
  c.target_kind = TargetKind::kTargetValues;
  c.targets = TensorOf(entry.at("inputs").at("target_values"));
  const nlohmann::json& config = entry.at("config");
  if (config.contains("loss_weight")) c.spec.loss_weight = config.at("loss_weight");
  const std::map<std::string, Reduction> reductions = {{"POSITIONS", Reduction::kPositions},
                                                       {"BATCH", Reduction::kBatch},
                                                       {"GIVEN", Reduction::kGiven},
                                                       {"SUM", Reduction::kSum}};
  c.spec.reduction = reductions.at(config.at("reduction"));
  if (c.spec.reduction == Reduction::kGiven) c.spec.denominator = config.at("denominator");
  return c;
}

// Values and gradients of losses in 60 digits (losses/goldens.json).
TEST(Conformance, GoldensOfElements) {
  std::ifstream file(DataDirectory() / "../losses/goldens.json");
  if (!file) GTEST_SKIP() << "NOT TESTED: there are no goldens beside " << DataDirectory();
  const nlohmann::json cases = nlohmann::json::parse(file).at("cases");
  int seen = 0;
  for (const nlohmann::json& entry : cases) {
    for (const Loss& loss : kElementLosses) {
      if (entry.at("loss_name") != NameOf(loss)) continue;
      SCOPED_TRACE(entry.at("id").get<std::string>());
      ++seen;
      const LossCase c = GoldenCase(loss, entry);
      const CoreAnswer core = RunCore(c);
      ASSERT_TRUE(core.status.ok()) << core.status;
      const Real wanted = entry.at("expected").at("loss").get<double>();
      EXPECT_THAT(Real(core.result.loss), NearWithin(wanted, 1e-11L * std::fabs(wanted)));
      const OwnedTensor gradient = TensorOf(entry.at("expected").at("gradient").at("predictions"));
      for (int64_t i = 0; i < gradient.size(); ++i) {
        const Real got = Widen(DType::kF64, core.outputs.gradient.bytes().data() + 8 * i);
        EXPECT_THAT(got, NearWithin(gradient.at(i), 1e-15L + 1e-11L * std::fabs(gradient.at(i))));
      }
    }
  }
  EXPECT_GE(seen, 1);
}

}  // namespace
}  // namespace lossd::oracle
