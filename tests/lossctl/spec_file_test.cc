// --spec: the whole LossSpec in a file.

#include "client/lossctl/spec_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "client/lossctl/compute_flags.h"
#include "tests/support/temp_dir.h"

namespace lossd::lossctl {
namespace {

using testing::HasSubstr;

class SpecFile : public testing::Test {
 protected:
  std::string Write(const std::string& text) { return directory_.Write("spec", text); }
  std::string Error(const std::string& text) {
    return std::string(ReadSpecFile(Write(text)).status().message());
  }

 private:
  TempDir directory_;
};

void ExpectPolicy(const absl::StatusOr<LossSpec>& spec) {
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto& policy = std::get<PolicyLoss>(spec->loss);
  const auto& ppo = std::get<PpoObjective>(policy.objective);
  EXPECT_EQ(ppo.ratio_low, 0.8);  // the default
  EXPECT_EQ(ppo.ratio_high, 1.28);
  EXPECT_EQ(policy.kl_estimator, KlEstimator::kK2);
  EXPECT_EQ(spec->reduction, Reduction::kGiven);
  EXPECT_EQ(spec->denominator, 64);
  EXPECT_EQ(spec->class_axis, -1);
}

TEST_F(SpecFile, TextAndJsonSayTheSame) {
  ExpectPolicy(ReadSpecFile(Write(R"(
    # A comment.
    policy { ppo { ratio_high: 1.28 } kl_estimator: K2 }
    class_axis: -1
    reduction: REDUCTION_GIVEN denominator: 64
  )")));
  ExpectPolicy(ReadSpecFile(Write(R"({
    "policy": {"ppo": {"ratioHigh": 1.28}, "klEstimator": "K2"},
    "classAxis": -1, "reduction": "REDUCTION_GIVEN", "denominator": 64
  })")));
}

TEST_F(SpecFile, WhatIsWrongIsSaid) {
  EXPECT_THAT(Error("policy {\n  pppo {}\n}"), HasSubstr("spec:2:"));
  EXPECT_THAT(Error("policy {\n  pppo {}\n}"), HasSubstr("pppo"));
  EXPECT_THAT(Error(R"({"softmax": {"logFlour": 1}})"), HasSubstr("logFlour"));
  EXPECT_THAT(Error(R"({"softmax": )"), HasSubstr("--spec: "));
  EXPECT_THAT(Error("reduction: REDUCTION_SUM"), HasSubstr("spec.loss is not set"));
  EXPECT_THAT(Error(std::string((1 << 20) + 1, ' ')), HasSubstr("more than 1 MiB"));
  EXPECT_THAT(std::string(ReadSpecFile("/does/not/exist").status().message()),
              HasSubstr("/does/not/exist cannot be read"));
}

TEST_F(SpecFile, NothingElseSaysAPartOfIt) {
  const auto error = [this](auto change) {
    ComputeFlags flags;
    flags.spec = Write("softmax {}");
    change(flags);
    return std::string(ReadSpec(flags).status().message());
  };
  EXPECT_EQ(error([](ComputeFlags&) {}), "");
  EXPECT_EQ(error([](ComputeFlags& f) { f.reduction = "sum"; }),
            "--reduction is given; wanted none beside --spec, whose file says it");
  EXPECT_THAT(error([](ComputeFlags& f) { f.loss = "nll"; }), HasSubstr("--loss is given"));
  EXPECT_THAT(error([](ComputeFlags& f) { OptionFlag("log_floor", f) = "0"; }),
              HasSubstr("--log-floor is given"));
  EXPECT_THAT(error([](ComputeFlags& f) { f.ignore_labels = {"1"}; }),
              HasSubstr("--ignore-label is given"));
}

}  // namespace
}  // namespace lossd::lossctl
