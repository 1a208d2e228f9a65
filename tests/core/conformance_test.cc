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

}  // namespace
}  // namespace lossd::oracle
