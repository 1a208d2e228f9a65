// lossctl and lossd as a user runs them: the real programs, over TCP and a Unix socket.

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/npy/npy.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lossd/losses.h"
#include "nlohmann/json.hpp"
#include "tests/lossctl/npy_bytes.h"
#include "tests/support/certificates.h"
#include "tests/support/program.h"
#include "tests/support/temp_dir.h"

namespace lossd::lossctl {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

using Json = nlohmann::json;

// One server for all tests; which of its addresses is the parameter.
class LossctlE2e : public testing::TestWithParam<int> {
 protected:
  static void SetUpTestSuite() { service_ = new Service(); }
  static void TearDownTestSuite() {
    EXPECT_EQ(service_->Stop(), 0);
    delete service_;
    service_ = nullptr;
  }

  static std::string Address() { return service_->addresses().at(GetParam()); }
  static std::string ServerFlag() { return absl::StrCat("--server=", Address()); }

  std::string File(const std::string& name, const std::string& descr, const std::string& shape,
                   const std::string& bytes, bool fortran_order = false) const {
    return scratch_.Write(name, NpyBytes(descr, shape, bytes, fortran_order));
  }

  std::vector<std::string> ComputeFlags(const std::vector<std::string>& flags) const {
    std::vector<std::string> arguments = {"compute", ServerFlag()};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return arguments;
  }

  // The answer of a call that must succeed and say nothing else.
  Json Compute(std::vector<std::string> flags) const {
    flags.push_back("--json");
    const Outcome outcome = RunLossctl(ComputeFlags(flags));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, IsEmpty());
    Json json = Json::parse(outcome.out, nullptr, /*allow_exceptions=*/false);
    EXPECT_FALSE(json.is_discarded()) << outcome.out;
    return json;
  }

  const TempDir scratch_;
  static Service* service_;
};

Service* LossctlE2e::service_ = nullptr;

const std::vector<double> kLogits = {1, 2, 3, .5, -1, 0};

struct Worked {
  const char* normalization;  // nullptr: no class weights
  double loss;
  std::vector<double> gradient;
};

// docs/semantics.md, section 6.
const Worked kWorked[] = {
    {nullptr,
     0.2529341424452772,
     {.022507643292595, .061182117763699, -.083689761056295, -.113362653183455, .030487913077432,
      .082874740106023}},
    {"local",
     0.2283685623337337,
     {.033761464938893, .091773176645549, -.125534641584442, -.056681326591728, .015243956538716,
      .041437370053011}},
    {"global",
     0.2283685623337337,
     {.033761464938893, .091773176645549, -.125534641584442, -.056681326591728, .015243956538716,
      .041437370053011}},
    {"none",
     0.4567371246674674,
     {.067522929877785, .183546353291098, -.251069283168884, -.113362653183455, .030487913077432,
      .082874740106023}},
};

TEST_P(LossctlE2e, WorkedExampleInBothLayoutsAndTransports) {
  const std::string labels = Bytes<int64_t>({2, 0});
  const std::string rows = File("rows.npy", "<f8", "(2, 3)", Bytes(kLogits));
  const std::string row_labels = File("row_labels.npy", "<i8", "(2,)", labels);
  const std::string columns = File("columns.npy", "<f8", "(3, 2)", Bytes(kLogits), true);
  const std::string column_labels = File("column_labels.npy", "<i8", "(1, 2)", labels);
  const std::string weights = File("weights.npy", "<f8", "(3,)", Bytes<double>({1, 2, 3}));
  const std::string gradient = scratch_.Path("gradient.npy");
  for (const Worked& worked : kWorked) {
    for (const bool column_major : {false, true}) {
      for (const char* const transport : {"unary", "stream"}) {
        SCOPED_TRACE(absl::StrCat(worked.normalization == nullptr ? "-" : worked.normalization,
                                  " column_major=", column_major, " ", transport));
        std::vector<std::string> flags = {
            "--loss=softmax",
            "--loss-weight=0.5",
            absl::StrCat("--predictions=", column_major ? columns : rows),
            absl::StrCat("--targets=", column_major ? column_labels : row_labels),
            absl::StrCat("--gradient-out=", gradient),
            absl::StrCat("--transport=", transport)};
        if (worked.normalization != nullptr) {
          flags.push_back(absl::StrCat("--class-weights=", weights));
          flags.push_back(absl::StrCat("--weight-normalization=", worked.normalization));
        }
        const Json json = Compute(flags);
        EXPECT_NEAR(json["loss"].get<double>(), worked.loss, 1e-15);
        EXPECT_NEAR(json["loss_sum"].get<double>(), 2 * worked.loss, 2e-15);
        EXPECT_EQ(json["denominator"], 2);
        EXPECT_EQ(json["position_count"], 2);
        EXPECT_EQ(json["valid_count"], 2);
        EXPECT_EQ(json["ignored_count"], 0);
        EXPECT_EQ(json["clamped_count"], 0);
        EXPECT_EQ(json["nonfinite_count"], 0);
        EXPECT_FALSE(json.contains("correct_count"));

        const auto written = npy::ReadNpy(gradient);
        ASSERT_TRUE(written.ok()) << written.status();
        const TensorDesc row_desc{DType::kF64, {2, 3}, Layout::kRowMajor};
        const TensorDesc column_desc{DType::kF64, {3, 2}, Layout::kColumnMajor};
        EXPECT_EQ(written->view().desc, column_major ? column_desc : row_desc);
        EXPECT_THAT(Elements<double>(ReadWhole(gradient)),
                    testing::Pointwise(testing::DoubleNear(1e-15), worked.gradient));
      }
    }
  }
}

// A label map in C order beside predictions in Fortran order: same indices, other order in memory.
TEST_P(LossctlE2e, MixedLayoutsGiveTheSameAnswer) {
  std::vector<double> rows, columns;
  const auto value = [](int n, int c, int i) { return std::sin(1.0 + n + 2 * c + 6 * i); };
  for (int n = 0; n < 2; ++n) {
    for (int c = 0; c < 3; ++c) {
      for (int i = 0; i < 4; ++i) rows.push_back(value(n, c, i));
    }
  }
  for (int i = 0; i < 4; ++i) {
    for (int c = 0; c < 3; ++c) {
      for (int n = 0; n < 2; ++n) columns.push_back(value(n, c, i));
    }
  }
  const std::string labels =
      File("labels.npy", "|u1", "(2, 4)", Bytes<uint8_t>({0, 1, 2, 0, 2, 2, 1, 0}));
  const std::string targets = absl::StrCat("--targets=", labels);
  const auto compute = [&](const std::string& x) {
    return Compute({"--loss=softmax", targets, absl::StrCat("--predictions=", x),
                    absl::StrCat("--position-losses-out=", x, ".losses")});
  };
  const std::string c_order = File("c.npy", "<f8", "(2, 3, 4)", Bytes(rows));
  const std::string fortran_order = File("f.npy", "<f8", "(2, 3, 4)", Bytes(columns), true);
  EXPECT_EQ(compute(c_order), compute(fortran_order));
  const auto c_losses = Elements<double>(ReadWhole(c_order + ".losses"));
  const auto f_losses = Elements<double>(ReadWhole(fortran_order + ".losses"));
  ASSERT_EQ(c_losses.size(), 8u);
  ASSERT_EQ(f_losses.size(), 8u);
  for (int n = 0; n < 2; ++n) {
    for (int i = 0; i < 4; ++i) EXPECT_EQ(c_losses[4 * n + i], f_losses[n + 2 * i]);
  }
}

TEST_P(LossctlE2e, WritesEveryOutput) {
  const std::string x = File("x.npy", "<f4", "(2, 3)", Bytes<float>({1, 2, 3, .5, -1, 0}));
  const std::string y = File("y.npy", "<i4", "(2, 1)", Bytes<int32_t>({2, 1}));
  const auto out = [&](const char* name) { return scratch_.Path(absl::StrCat(name, ".npy")); };
  const Json json = Compute(
      {"--loss=softmax", absl::StrCat("--predictions=", x), absl::StrCat("--targets=", y),
       "--gradient-dtype=bf16", absl::StrCat("--gradient-out=", out("gradient")),
       absl::StrCat("--position-losses-out=", out("losses")),
       absl::StrCat("--log-sum-exp-out=", out("lse")), absl::StrCat("--hits-out=", out("hits")),
       absl::StrCat("--probabilities-out=", out("probabilities"))});
  EXPECT_EQ(json["correct_count"], 1);
  const auto desc = [&](const char* name) {
    const auto tensor = npy::ReadNpy(out(name));
    EXPECT_TRUE(tensor.ok()) << tensor.status();
    return tensor.ok() ? tensor->view().desc : TensorDesc{};
  };
  EXPECT_EQ(desc("gradient"), (TensorDesc{DType::kBF16, {2, 3}}));
  EXPECT_EQ(desc("losses"), (TensorDesc{DType::kF64, {2, 1}}));
  EXPECT_EQ(desc("lse"), (TensorDesc{DType::kF64, {2, 1}}));
  EXPECT_EQ(desc("hits"), (TensorDesc{DType::kU8, {2, 1}}));
  EXPECT_EQ(desc("probabilities"), (TensorDesc{DType::kF32, {2, 3}}));

  const auto lse = Elements<double>(ReadWhole(out("lse")));
  const auto losses = Elements<double>(ReadWhole(out("losses")));
  EXPECT_NEAR(lse[0], std::log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0)), 1e-6);
  EXPECT_NEAR(losses[0], lse[0] - 3, 1e-6);
  EXPECT_NEAR(losses[1], lse[1] + 1, 1e-6);
  EXPECT_THAT(Elements<uint8_t>(ReadWhole(out("hits"))), ElementsAre(1, 0));
  const auto probabilities = Elements<float>(ReadWhole(out("probabilities")));
  EXPECT_NEAR(probabilities[0] + probabilities[1] + probabilities[2], 1, 1e-6);
  EXPECT_NEAR(probabilities[2], std::exp(3 - lse[0]), 1e-6);
}

TEST_P(LossctlE2e, TargetKindIsGuessedAndCanBeSaid) {
  const std::string x =
      absl::StrCat("--predictions=", File("x.npy", "<f8", "(2, 3)", Bytes(kLogits)));
  const std::string one_hot = File("t.npy", "<f8", "(2, 3)", Bytes<double>({0, 0, 1, 1, 0, 0}));
  const std::string labels = File("y.npy", "<f4", "(2,)", Bytes<float>({2, 0}));
  const Json by_labels = Compute({"--loss=softmax", x, absl::StrCat("--targets=", labels)});
  const Json by_kind = Compute(
      {"--loss=softmax", x, absl::StrCat("--targets=", one_hot), "--target-kind=probabilities"});
  EXPECT_EQ(Compute({"--loss=softmax", x, absl::StrCat("--targets=", one_hot)}), by_kind);
  EXPECT_EQ(by_labels["loss"], by_kind["loss"]);
}

TEST_P(LossctlE2e, NotANumberIsText) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::string x = File("x.npy", "<f8", "(2, 3)", Bytes<double>({1, 2, inf, .5, -1, 0}));
  const std::string y = File("y.npy", "|i1", "(2,)", Bytes<int8_t>({2, -100}));
  const Json json =
      Compute({"--loss=softmax", absl::StrCat("--predictions=", x), absl::StrCat("--targets=", y),
               "--ignore-label=-7", "--ignore-label", "-100"});
  EXPECT_EQ(json["loss"], "NaN");
  EXPECT_EQ(json["nonfinite_count"], 1);
  EXPECT_EQ(json["ignored_count"], 1);
}

TEST_P(LossctlE2e, TableForPeople) {
  const std::string x = File("x.npy", "<f8", "(2, 3)", Bytes(kLogits));
  const std::string y = File("y.npy", "<i8", "(2,)", Bytes<int64_t>({2, 0}));
  const std::string g = scratch_.Path("g.npy");
  const Outcome outcome = RunLossctl(
      ComputeFlags({"--loss=softmax", "--loss-weight=0.5", absl::StrCat("--predictions=", x),
                    absl::StrCat("--targets=", y), absl::StrCat("--gradient-out=", g)}));
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, IsEmpty());
  EXPECT_THAT(outcome.out, StartsWith("loss             0.25293414244527"));
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("\nposition_count   2\n"), HasSubstr("\ntime   "),
                                 HasSubstr("/s of predictions, ")));
  EXPECT_THAT(outcome.out, HasSubstr(absl::StrCat("\nwrote            ", g, "  f64 [2,3]\n")));
}

TEST_P(LossctlE2e, RefusalsSayWhatAndWhatToDo) {
  const std::string x = File("x.npy", "<f8", "(2, 3)", Bytes(kLogits));
  const std::string y = File("y.npy", "<i8", "(2,)", Bytes<int64_t>({2, 7}));
  const Outcome outcome = RunLossctl(ComputeFlags(
      {"--loss=softmax", absl::StrCat("--predictions=", x), absl::StrCat("--targets=", y),
       absl::StrCat("--gradient-out=", scratch_.Path("g.npy"))}));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_THAT(outcome.err, StartsWith("lossctl: INVALID_ARGUMENT: "));
  EXPECT_THAT(outcome.err, HasSubstr("[1] is 7; wanted a label in 0..2"));
  EXPECT_THAT(outcome.err, HasSubstr("\nhint: fields are flags"));
  EXPECT_THAT(scratch_.FileNames(), ElementsAre("x.npy", "y.npy"));
}

TEST_P(LossctlE2e, HealthHasTheExitCodesOfGrpcHealthProbe) {
  const Outcome serving = RunLossctl({"health", ServerFlag()});
  EXPECT_EQ(serving.exit_code, 0) << serving.err;
  EXPECT_EQ(serving.out, "SERVING\n");
  EXPECT_EQ(RunLossctl({"health", ServerFlag(), "--service=lossd.v1.LossService"}).exit_code, 0);
  const Outcome unknown = RunLossctl({"health", ServerFlag(), "--service=no.such.Service"});
  EXPECT_EQ(unknown.exit_code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("NOT_FOUND"));
  EXPECT_EQ(RunLossctl({"health", ServerFlag(), "--timeout=never"}).exit_code, 1);
}

TEST_P(LossctlE2e, InfoTellsWhatTheServerIs) {
  const Outcome outcome = RunLossctl({"info", ServerFlag(), "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out, nullptr, false);
  ASSERT_EQ(json["losses"].size(), kLossCount);
  for (size_t i = 0; i < kLossCount; ++i) EXPECT_EQ(json["losses"][i], kLossFacts[i].name);
  EXPECT_GT(json["threads"], 0);
  EXPECT_GT(json["max_unary_bytes"], 0);
  EXPECT_EQ(json["prediction_dtypes"].size(), 4u);
  const Outcome table = RunLossctl({"info", ServerFlag()});
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_THAT(table.out, StartsWith(absl::StrCat("version            ",
                                                 json["version"].get<std::string>(), "\n")));
}

INSTANTIATE_TEST_SUITE_P(Over, LossctlE2e, testing::Values(0, 1),
                         [](const auto& info) { return info.param == 0 ? "Tcp" : "UnixSocket"; });

// Every command, over mutual TLS and with a token; and what each says where one is missing.
TEST(LossctlAlone, TlsAndTokens) {
  const TempDir scratch;
  const Authority ca("ca");
  const Identity server = ca.Sign(1);
  const Identity client = ca.Sign(2);
  const std::string ca_file = scratch.Write("ca.pem", ca.certificate());
  const std::string token_file = scratch.Write("token", "trainer-7\n");
  Service service({absl::StrCat("--tls-cert=", scratch.Write("server.pem", server.certificate)),
                   absl::StrCat("--tls-key=", scratch.Write("server.key", server.key)),
                   absl::StrCat("--tls-client-ca=", ca_file),
                   absl::StrCat("--auth-token-file=", token_file)});
  const std::string trust = absl::StrCat("--tls-ca=", ca_file);
  const std::string certificate =
      absl::StrCat("--tls-cert=", scratch.Write("client.pem", client.certificate));
  const std::string key = absl::StrCat("--tls-key=", scratch.Write("client.key", client.key));
  const std::string token = absl::StrCat("--token-file=", token_file);
  const std::string x = absl::StrCat(
      "--predictions=", scratch.Write("x.npy", NpyBytes("<f8", "(2, 3)", Bytes(kLogits))));
  const std::string y = absl::StrCat(
      "--targets=", scratch.Write("y.npy", NpyBytes("<i8", "(2,)", Bytes<int64_t>({2, 0}))));
  const auto run = [&](std::vector<std::string> command, const std::vector<std::string>& flags) {
    command.push_back(absl::StrCat("--server=", service.addresses()[0]));
    command.insert(command.end(), flags.begin(), flags.end());
    return RunLossctl(command);
  };

  const Outcome computed = run({"compute", "--loss=softmax", "--loss-weight=0.5", x, y, "--json"},
                               {trust, certificate, key, token});
  ASSERT_EQ(computed.exit_code, 0) << computed.err;
  EXPECT_NEAR(Json::parse(computed.out)["loss"].get<double>(), kWorked[0].loss, 1e-15);
  EXPECT_EQ(run({"info"}, {trust, certificate, key, token}).exit_code, 0);
  EXPECT_EQ(
      run({"info"}, {trust, certificate, key, token, "--tls-server-name=localhost"}).exit_code, 0);
  EXPECT_EQ(run({"health"}, {trust, certificate, key, token}).exit_code, 0);
  EXPECT_EQ(run({"health"}, {trust, certificate, key}).exit_code, 0) << "needs no token";

  const Outcome no_token = run({"info"}, {trust, certificate, key});
  EXPECT_EQ(no_token.exit_code, 1);
  EXPECT_THAT(no_token.err, StartsWith("lossctl: UNAUTHENTICATED: the call has no token"));
  EXPECT_THAT(no_token.err, HasSubstr("\nhint: a token is brought with --token-file; ask"));
  const std::vector<std::vector<std::string>> faults = {
      {trust, token},                      // no certificate
      {"--tls", certificate, key, token},  // this system's CAs
      {trust, certificate, key, token, "--tls-server-name=loss.example"},
      {token}};  // in the clear
  for (const std::vector<std::string>& flags : faults) {
    const Outcome health = run({"health"}, flags);
    EXPECT_EQ(health.exit_code, 2) << health.err;
    EXPECT_THAT(health.err, HasSubstr(": UNAVAILABLE: "));
  }
  EXPECT_EQ(service.Stop(), 0);
}

TEST(LossctlAlone, CannotConnectToAServerThatIsGone) {
  std::vector<std::string> addresses;
  {
    Service service;
    addresses = service.addresses();
    EXPECT_EQ(service.Stop(), 0);
  }
  for (const std::string& address : addresses) {
    const Outcome health = RunLossctl({"health", absl::StrCat("--server=", address)});
    EXPECT_EQ(health.exit_code, 2) << health.err;
    const Outcome info = RunLossctl({"info", absl::StrCat("--server=", address)});
    EXPECT_EQ(info.exit_code, 1);
    EXPECT_THAT(info.err, StartsWith("lossctl: UNAVAILABLE: "));
    EXPECT_THAT(info.err, HasSubstr(absl::StrCat("\nhint: does lossd run at ", address, "?")));
  }
}

}  // namespace
}  // namespace lossd::lossctl
