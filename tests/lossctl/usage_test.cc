// What lossctl says without asking a server: each mistake is one line that names its flag or file.

#include <stdlib.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/lossctl/app.h"
#include "client/lossctl/compute_flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/lossctl/npy_bytes.h"
#include "tests/support/temp_dir.h"

namespace lossd::lossctl {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

struct Said {
  int exit_code;
  std::string out;
  std::string err;
};

Said Lossctl(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"lossctl"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int exit_code = Main(static_cast<int>(argv.size()), argv.data());
  return {exit_code, testing::internal::GetCapturedStdout(),
          testing::internal::GetCapturedStderr()};
}

void ExpectOneLine(const Said& said, int exit_code, const std::string& words) {
  EXPECT_EQ(said.exit_code, exit_code);
  EXPECT_THAT(said.out, IsEmpty());
  EXPECT_THAT(said.err, StartsWith("lossctl: "));
  EXPECT_THAT(said.err, HasSubstr(words));
  EXPECT_EQ(std::count(said.err.begin(), said.err.end(), '\n'), 1) << said.err;
}

// The words are those of other frameworks, and slips.
struct MeantCase {
  const char* flag;
  const char* words;
};

class Usage : public testing::Test {
 protected:
  void SetUp() override { unsetenv("LOSSD_SERVER"); }

  // A whole call that would be fine, with flags replaced or added. Nobody listens there.
  std::vector<std::string> Compute(const std::vector<std::string>& changes) const {
    std::vector<std::string> flags = {"compute", "--server=unix:/nonexistent/socket",
                                      "--loss=softmax", absl::StrCat("--predictions=", x_),
                                      absl::StrCat("--targets=", y_)};
    for (const std::string& change : changes) {
      const std::string name = change.substr(0, change.find('=') + 1);
      flags.erase(std::remove_if(flags.begin(), flags.end(),
                                 [&](const auto& flag) { return absl::StartsWith(flag, name); }),
                  flags.end());
      if (change != name) flags.push_back(change);
    }
    return flags;
  }

  const TempDir scratch_;
  const std::string x_ =
      scratch_.Write("x.npy", NpyBytes("<f8", "(2, 3)", Bytes<double>({1, 2, 3, .5, -1, 0})));
  const std::string y_ = scratch_.Write("y.npy", NpyBytes("<i8", "(2,)", Bytes<int64_t>({2, 0})));
};

TEST_F(Usage, NamesTheBadFlag) {
  const struct {
    const char* change;
    const char* words;
  } kRows[] = {
      {"--loss=", "--loss is missing"},
      {"--loss=zebra", "--loss is 'zebra'; wanted one of softmax, multinomial_logistic, nll"},
      {"--predictions=", "--predictions is missing"},
      {"--targets=", "--targets is missing"},
      {"--server=", "--server is missing; wanted host:port or unix:/path (or set LOSSD_SERVER)"},
      {"--target-kind=hot", "--target-kind is 'hot'; wanted one of auto, indices, probabilities"},
      {"--class-axis=x", "--class-axis is 'x'; wanted a whole number"},
      {"--class-axis=1.5", "--class-axis is '1.5'"},
      {"--class-axis=2", "--class-axis is 2; the predictions"},
      {"--class-axis=-3", "--class-axis is -3; the predictions"},
      {"--class-axis=4294967297", "--class-axis is 4294967297"},
      {"--weight-normalization=x", "--weight-normalization is 'x'; wanted one of local, global"},
      {"--ignore-label=x", "--ignore-label is 'x'"},
      {"--ignore-label=9223372036854775808", "--ignore-label is '9223372036854775808'"},
      {"--label-smoothing=much", "--label-smoothing is 'much'; wanted a number"},
      {"--loss-weight=1,5", "--loss-weight is '1,5'"},
      {"--log-epsilon=1",
       "--log-epsilon is an option of --loss=multinomial_logistic, binary_cross_entropy only"},
      {"--log-floor=x", "--log-floor is 'x'"},
      {"--reduction=mean",
       "--reduction is 'mean'; wanted one of positions, valid, weight_sum, "
       "batch, sum, given, none"},
      {"--denominator=x", "--denominator is 'x'"},
      {"--all-ignored=x", "--all-ignored is 'x'; wanted one of zero, nan, error"},
      {"--non-finite=x", "--non-finite is 'x'; wanted one of propagate, error"},
      {"--gradient-scale=x", "--gradient-scale is 'x'"},
      {"--gradient-dtype=i8", "--gradient-dtype is 'i8'; wanted one of f32, f64, f16, bf16"},
      {"--transport=pigeon", "--transport is 'pigeon'; wanted one of auto, unary, stream"},
      {"--timeout=0s", "--timeout is '0s'; wanted a time such as"},
      {"--timeout=-1s", "--timeout is '-1s'"},
      {"--timeout=5", "--timeout is '5'"},
      {"--timeout=inf", "--timeout is 'inf'"},
      {"--tls-ca=/nowhere", "--tls-ca /nowhere: No such file or directory"},
      {"--tls-ca=/tmp", "--tls-ca /tmp: not a regular file"},
      {"--tls-cert=/nowhere", "--tls-cert is given without --tls-key; wanted both"},
      {"--tls-key=/nowhere", "--tls-key is given without --tls-cert; wanted both"},
      {"--tls-server-name=two words", "--tls-server-name is 'two words'; wanted a host name"},
      {"--token-file=/run/token_file", "--token-file /run/token_file: No such file or directory"},
      {"--no-such-flag=1", "--no-such-flag"},
      {"--gradient-out=/nonexistent/g.npy",
       "--gradient-out: /nonexistent/g.npy: cannot be created"},
      {"--hits-out=/tmp", "--hits-out: /tmp: is a directory"},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.change);
    ExpectOneLine(Lossctl(Compute({row.change})), 2, row.words);
  }
}

TEST_F(Usage, NamesTheBadFile) {
  const std::string short_file = scratch_.Write("short.npy", ReadWhole(x_).substr(0, 150));
  const std::string scalar =
      scratch_.Write("scalar.npy", NpyBytes("<f8", "()", Bytes<double>({1})));
  for (const char* const flag : {"--predictions", "--targets", "--class-weights",
                                 "--position-weights", "--upstream-gradient"}) {
    SCOPED_TRACE(flag);
    ExpectOneLine(Lossctl(Compute({absl::StrCat(flag, "=", short_file)})), 2,
                  absl::StrCat(flag, ": ", short_file, ": is cut short: "));
    ExpectOneLine(Lossctl(Compute({absl::StrCat(flag, "=/nonexistent.npy")})), 2,
                  absl::StrCat(flag, ": /nonexistent.npy: cannot be opened: "));
  }
  ExpectOneLine(Lossctl(Compute({absl::StrCat("--predictions=", scalar)})), 2,
                absl::StrCat("--predictions: the predictions (", scalar, ") have shape []"));
}

TEST_F(Usage, OptionsOfTheOtherLossesAreNamed) {
  ExpectOneLine(Lossctl(Compute({"--loss=nll", "--log-floor=0.1"})), 2,
                "--log-floor is an option of --loss=softmax only");
}

TEST_F(Usage, TwoOutputsInOneFile) {
  const std::string g = scratch_.Path("g.npy");
  ExpectOneLine(Lossctl(Compute(
                    {absl::StrCat("--gradient-out=", g), absl::StrCat("--probabilities-out=", g)})),
                2, absl::StrCat("--gradient-out and --probabilities-out both name ", g));
}

TEST_F(Usage, AFlagTwice) {
  std::vector<std::string> arguments = Compute({});
  arguments.push_back("--loss=nll");
  ExpectOneLine(Lossctl(arguments), 2, "--loss");
}

TEST_F(Usage, CommandsAndTheirExitCodes) {
  ExpectOneLine(Lossctl({}), 2, "wanted a command: compute, bench, info or health");
  ExpectOneLine(Lossctl({"destroy"}), 2, "destroy");
  ExpectOneLine(Lossctl({"info"}), 2, "--server is missing");
  ExpectOneLine(Lossctl({"info", "--server=a", "--timeout=x"}), 2, "--timeout is 'x'");
  ExpectOneLine(Lossctl({"health"}), 1, "--server is missing");
  ExpectOneLine(Lossctl({"health", "--server=a", "--timeout=x"}), 1, "--timeout is 'x'");
  ExpectOneLine(Lossctl({"health", "--no-such-flag"}), 1, "--no-such-flag");
}

TEST_F(Usage, ATokenStaysOffTheNetworkUnlessItIsEncrypted) {
  const std::string token = absl::StrCat("--token-file=", scratch_.Write("token", "secret\n"));
  const std::string refusal =
      "the token would cross the network in the clear on its way to loss.example:1; wanted TLS";
  ExpectOneLine(Lossctl({"info", "--server=loss.example:1", token}), 2, refusal);
  ExpectOneLine(Lossctl({"health", "--server=loss.example:1", token}), 1, refusal);
  ExpectOneLine(Lossctl(Compute({"--server=loss.example:1", token})), 2, refusal);
}

// As of a shell's variable that is not set.
TEST_F(Usage, AnEmptySecurityFlagIsNotNone) {
  for (const char* const flag :
       {"--tls-ca", "--tls-cert", "--tls-key", "--tls-server-name", "--token-file"}) {
    ExpectOneLine(Lossctl({"info", "--server=unix:/nonexistent/socket", flag, ""}), 2,
                  absl::StrCat(flag, " is empty"));
  }
}

TEST_F(Usage, NobodyThere) {
  const Said compute = Lossctl(Compute({"--timeout=5s"}));
  EXPECT_EQ(compute.exit_code, 1);
  EXPECT_THAT(compute.out, IsEmpty());
  EXPECT_THAT(compute.err, StartsWith("lossctl: UNAVAILABLE: "));
  EXPECT_THAT(compute.err, HasSubstr("\nhint: does lossd run at unix:/nonexistent/socket? Try: "));
  const Said health = Lossctl({"health", "--server=unix:/nonexistent/socket"});
  ExpectOneLine(health, 2, "cannot connect to unix:/nonexistent/socket: UNAVAILABLE");
}

TEST_F(Usage, ServerComesFromTheEnvironment) {
  setenv("LOSSD_SERVER", "unix:/nonexistent/environment", 1);
  ExpectOneLine(Lossctl({"health"}), 2, "cannot connect to unix:/nonexistent/environment");
  ExpectOneLine(Lossctl({"health", "--server=unix:/nonexistent/flag"}), 2,
                "cannot connect to unix:/nonexistent/flag");
  unsetenv("LOSSD_SERVER");
}

TEST_F(Usage, VersionAndHelpGoToStandardOutput) {
  const Said version = Lossctl({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, testing::MatchesRegex("lossctl [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  const Said help = Lossctl({"compute", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.err, IsEmpty());
  for (const FlagRow<ComputeFlags>& row : ComputeFlagTable()) {
    EXPECT_THAT(help.out, HasSubstr(absl::StrCat("  ", row.name, "=", row.value)));
  }
  for (const char* const flag : {"--ignore-label=N", "--server=ADDR", "--timeout=DURATION"}) {
    EXPECT_THAT(help.out, HasSubstr(flag));
  }
  EXPECT_THAT(Lossctl({"--help"}).out, HasSubstr("health"));
  for (const char* const command : {"compute", "info", "health"}) {
    const Said of_command = Lossctl({command, "--help"});
    for (const char* const flag : {"--server=ADDR", "--tls ", "--tls-ca=F.pem", "--tls-cert=F.pem",
                                   "--tls-key=F.pem", "--tls-server-name=NAME", "--token-file=F"}) {
      EXPECT_THAT(of_command.out, HasSubstr(flag)) << command;
    }
  }
}

// Every flag reaches the field of its name.
TEST(ReadSpec, FillsEveryField) {
  ComputeFlags flags;
  flags.loss = "multinomial_logistic";
  OptionFlag("log_epsilon", flags) = "0.25";
  flags.class_axis = "-3";
  flags.weight_normalization = "global";
  flags.ignore_labels = {"-100", "7"};
  flags.label_smoothing = "0.125";
  flags.loss_weight = "3";
  flags.reduction = "given";
  flags.denominator = "17";
  flags.gradient_scale = "-2";
  flags.gradient_dtype = "bf16";
  flags.all_ignored = "nan";
  flags.non_finite = "error";
  const auto spec = ReadSpec(flags);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(std::get<MultinomialLogisticLoss>(spec->loss).log_epsilon, 0.25);
  EXPECT_EQ(spec->class_axis, -3);
  EXPECT_EQ(spec->weight_normalization, WeightNormalization::kGlobal);
  EXPECT_THAT(spec->ignore_labels, testing::ElementsAre(-100, 7));
  EXPECT_EQ(spec->label_smoothing, 0.125);
  EXPECT_EQ(spec->loss_weight, 3);
  EXPECT_EQ(spec->reduction, Reduction::kGiven);
  EXPECT_EQ(spec->denominator, 17);
  EXPECT_EQ(spec->gradient_scale, -2);
  EXPECT_EQ(spec->gradient_dtype, DType::kBF16);
  EXPECT_EQ(spec->all_ignored_policy, AllIgnoredPolicy::kNan);
  EXPECT_EQ(spec->non_finite_policy, NonFinitePolicy::kError);

  ComputeFlags softmax;
  softmax.loss = "softmax";
  OptionFlag("log_floor", softmax) = "1e-20";
  EXPECT_EQ(std::get<SoftmaxLoss>(ReadSpec(softmax)->loss).log_floor, 1e-20);
}

TEST(ReadSpec, LeavesDefaultsAlone) {
  ComputeFlags flags;
  flags.loss = "nll";
  const auto spec = ReadSpec(flags);
  ASSERT_TRUE(spec.ok());
  EXPECT_TRUE(std::holds_alternative<NllLoss>(spec->loss));
  EXPECT_EQ(spec->class_axis, std::nullopt);
  EXPECT_EQ(spec->weight_normalization, std::nullopt);
  EXPECT_EQ(spec->reduction, Reduction::kPositions);
  EXPECT_EQ(spec->denominator, std::nullopt);
  EXPECT_EQ(spec->gradient_dtype, std::nullopt);
  EXPECT_EQ(spec->loss_weight, 1);
  EXPECT_EQ(spec->gradient_scale, 1);
}

TEST_F(Usage, SaysWhatWasProbablyMeant) {
  const MeantCase cases[] = {
      {"--loss=cross_entropy", "did you mean softmax"},
      {"--loss=CrossEntropyLoss", "did you mean softmax"},
      {"--loss=categorical-crossentropy", "multinomial_logistic"},
      {"--loss=NLLLoss", "did you mean nll?"},
      {"--loss=sofmax", "did you mean softmax?"},
      {"--loss=mse", "did you mean squared_error?"},
      {"--loss=l1", "did you mean absolute_error?"},
      {"--loss=bce", "did you mean binary_cross_entropy"},
      {"--loss=grpo", "did you mean policy with --objective=ppo"},
      {"--loss=DAPO", "--ppo-ratio-high=1.28"},
      {"--loss=dpo", "did you mean preference?"},
      {"--reduction=mean", "weight_sum (PyTorch's mean"},
      {"--reduction=batchmean", "did you mean batch?"},
      {"--reduction=wieght_sum", "did you mean weight_sum?"},
      {"--ignore-index=-100", "did you mean --ignore-label?"},
      {"--ignore_index=-100", "did you mean --ignore-label?"},
      {"--dim=1", "did you mean --class-axis?"},
      {"--target=x", "did you mean --targets?"},
      {"--mask=x", "--position-weights"},
      {"--class-weight=x", "did you mean --class-weights?"},
      {"--label-smothing=.1", "did you mean --label-smoothing?"},
      {"--host=a", "--server=host:port"},
  };
  for (const MeantCase& one : cases) {
    SCOPED_TRACE(one.flag);
    ExpectOneLine(Lossctl(Compute({one.flag})), 2, one.words);
  }
  const Said nothing = Lossctl(Compute({"--reduction=quux"}));
  EXPECT_EQ(nothing.err.find("did you mean"), std::string::npos) << nothing.err;
}

TEST_F(Usage, AServerThatIsNoAddressIsNamedAsTheFlag) {
  ExpectOneLine(Lossctl(Compute({"--server=127.0.0.1"})), 2,
                "--server is '127.0.0.1', without a port; wanted 127.0.0.1:50151");
  ExpectOneLine(Lossctl(Compute({"--server=http://h:1"})), 2, "--server is 'http://h:1', a URL");
}

}  // namespace
}  // namespace lossd::lossctl
