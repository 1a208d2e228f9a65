// Worked examples of the losses, found by others with 60 digits: through the core, a server (one
// message and a stream) and lossctl, to the tolerance that is stated for them. The data are not
// part of the sources: LOSSD_CONFORMANCE_DIR, or a directory beside the sources.
//
// A case of a loss, an option or a tensor that does not exist is skipped by name.

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/npy/npy.h"
#include "core/exec/loss_run.h"
#include "gtest/gtest.h"
#include "lossd/client.h"
#include "nlohmann/json.hpp"
#include "tests/support/loss_case.h"
#include "tests/support/process.h"
#include "tests/support/program.h"

namespace lossd {
namespace {

using oracle::OwnedTensor;
using oracle::Real;
using Json = nlohmann::json;

std::filesystem::path DataDirectory() {
  const char* const directory = std::getenv("LOSSD_CONFORMANCE_DIR");
  return directory != nullptr ? directory
                              : std::filesystem::path(LOSSD_SOURCE_DIR) / "../shared/conformance";
}

// No case where there are no data.
std::vector<Json> ReadCases() {
  std::ifstream file(DataDirectory() / "losses" / "goldens.json");
  if (!file) return {};
  auto cases = Json::parse(file).at("cases").get<std::vector<Json>>();
  // An example that names no normalisation takes the class weights as they are, like PyTorch; the
  // default of the service divides by their mean. The frames of ctc are [N, T, C] there, which the
  // service wants to be told.
  for (Json& entry : cases) {
    Json& config = entry.at("config");
    if (entry.at("loss_name") == "ctc") config.update({{"class_axis", 2}, {"time_axis", 1}});
    if (entry.at("inputs").contains("class_weights") && !config.contains("weight_normalization")) {
      config["weight_normalization"] = "NONE";
    }
  }
  return cases;
}

Real NumberOf(const Json& value) {
  if (value.is_number()) return value.get<double>();
  const std::string text = value.get<std::string>();
  if (text == "nan") return std::numeric_limits<Real>::quiet_NaN();
  return text == "inf" ? std::numeric_limits<Real>::infinity()
                       : -std::numeric_limits<Real>::infinity();
}

void Flatten(const Json& list, std::vector<Real>& numbers) {
  if (!list.is_array()) {
    numbers.push_back(NumberOf(list));
    return;
  }
  for (const Json& part : list) Flatten(part, numbers);
}

OwnedTensor TensorOf(const Json& list, DType dtype) {
  std::vector<int64_t> shape;
  for (const Json* at = &list; at->is_array(); at = &at->front()) {
    shape.push_back(static_cast<int64_t>(at->size()));
    if (at->empty()) break;
  }
  std::vector<Real> numbers;
  Flatten(list, numbers);
  return OwnedTensor::Of(dtype, shape, numbers);
}

bool IsWhole(const std::string& tensor) {
  return tensor == "class_indices" || tensor.ends_with("_lengths");
}

// ------------------------------------------------------------------------------- the request

template <class T>
void ReadOption(const Json& value, T& option) {
  if constexpr (std::is_enum_v<T>) {
    const auto& names = Words<T>::kNames;
    const auto* const found =
        std::find(std::begin(names), std::end(names), value.get<std::string>());
    ASSERT_NE(found, std::end(names)) << value;
    option = static_cast<T>(found - std::begin(names) + 1);
  } else if constexpr (kIsOptional<T>) {
    option = value.get<typename T::value_type>();
  } else {
    option = value.get<T>();
  }
}

// Of policy the cases name the objective by a word, and its options beside it.
bool ReadObjective(const Json& config, const std::string& name, const Json& value, Loss& any) {
  auto* const policy = std::get_if<PolicyLoss>(&any);
  if (policy == nullptr) return false;
  const std::string wanted = absl::AsciiStrToLower(config.at("objective").get<std::string>());
  bool found = name == "objective";
  ForEachMember<decltype(policy->objective)>([&]<class M>(const M& message) {
    if (LossRow<M>::kName != wanted) return;
    if (!std::holds_alternative<M>(policy->objective)) policy->objective = message;
    ForEachOption<M>([&](const auto& option) {
      if (option.name != name) return;
      found = true;
      ReadOption(value, std::get<M>(policy->objective).*option.member);
    });
  });
  return found;
}

// The options of a message that stands by itself.
template <class M>
void ReadMessage(const Json& values, std::variant<std::monostate, M>& message) {
  M read;
  ForEachOption<M>([&](const auto& option) {
    const std::string name(option.name);
    if (values.contains(name)) ReadOption(values.at(name), read.*option.member);
  });
  message = read;
}

bool ReadLossOption(const std::string& name, const Json& value, Loss& any) {
  bool found = false;
  std::visit(
      [&]<class L>(L& loss) {
        ForEachOption<L>([&](const auto& option) {
          using T = std::decay_t<decltype(loss.*option.member)>;
          if (option.name != name) return;
          if constexpr (kIsMessage<T>) {
            found = true;
            ReadMessage(value, loss.*option.member);
          } else if constexpr (!kIsOneOf<T>) {
            found = true;
            ReadOption(value, loss.*option.member);
          }
        });
      },
      any);
  return found;
}

// Of an option of every loss; false where there is none of that name.
bool ReadSharedOption(const std::string& name, const Json& value, LossSpec& spec) {
  const auto word = [&](std::initializer_list<const char*> words) {
    int number = 1;
    for (const char* known : words) {
      if (value == known) return number;
      ++number;
    }
    ADD_FAILURE() << name << " " << value;
    return 0;
  };
  if (name == "reduction") {
    spec.reduction = static_cast<Reduction>(
        word({"POSITIONS", "VALID", "WEIGHT_SUM", "BATCH", "SUM", "GIVEN", "NONE"}));
  } else if (name == "weight_normalization") {
    spec.weight_normalization = static_cast<WeightNormalization>(word({"LOCAL", "GLOBAL", "NONE"}));
  } else if (name == "loss_weight") {
    spec.loss_weight = value.get<double>();
  } else if (name == "label_smoothing") {
    spec.label_smoothing = value.get<double>();
  } else if (name == "class_axis") {
    spec.class_axis = value.get<int>();
  } else {
    return name == "denominator";  // told for every case, and set with GIVEN
  }
  return true;
}

// What a case asks for; `missing` names what does not exist.
struct Question {
  LossSpec spec;
  std::vector<std::pair<std::string, OwnedTensor>> tensors;
  LossInputs inputs;
  std::string missing;
};

void ReadConfig(const Json& entry, Question& question) {
  LossSpec& spec = question.spec;
  const auto name = entry.at("loss_name").get<std::string>();
  const auto known = std::find_if(kLossFacts.begin(), kLossFacts.end(),
                                  [&](const LossFacts& loss) { return loss.name == name; });
  if (known == kLossFacts.end()) {
    question.missing = name;
    return;
  }
  spec.loss = kDefaultLosses[known - kLossFacts.begin()];
  if (auto* const policy = std::get_if<PolicyLoss>(&spec.loss)) {
    if (!entry.at("config").contains("input")) policy->input = PolicyInput::kLogProbabilities;
  }
  for (const auto& [option, value] : entry.at("config").items()) {
    if (!ReadObjective(entry.at("config"), option, value, spec.loss) &&
        !ReadLossOption(option, value, spec.loss) && !ReadSharedOption(option, value, spec)) {
      question.missing = option;
    }
  }
  if (spec.reduction == Reduction::kGiven) {
    spec.denominator = entry.at("config").at("denominator").get<double>();
  }
}

void ReadTensors(const Json& entry, DType dtype, Question& question) {
  for (const auto& [name, list] : entry.at("inputs").items()) {
    question.tensors.emplace_back(name, TensorOf(list, IsWhole(name) ? DType::kI64 : dtype));
  }
  question.inputs.target_kind = TargetKind::kNone;
  for (const auto& [name, tensor] : question.tensors) {
    bool known = false;
    for (const TensorRow<TensorView>& row : kTensorRows<TensorView>) {
      if (row.name != name) continue;
      known = true;
      AddTensor(row, question.inputs) = tensor.view();
    }
    if (!known) question.missing = name;
  }
}

// -------------------------------------------------------------------------------- the answer

struct Answer {
  absl::Status status;
  double loss = 0;
  std::optional<PolicyMetrics> policy;
  OwnedTensor gradient;
  OwnedTensor second_gradient;
};

// Whether a number is the one that is wanted, within a share of it or of `largest`.
bool IsNear(Real got, Real want, Real relative, Real absolute) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return got == want;
  return std::fabs(got - want) <= std::max(relative * std::fabs(want), absolute);
}

void ExpectGradient(const Json& entry, const char* name, const OwnedTensor& got, Real relative) {
  const Json& gradients = entry.at("expected").value("gradient", Json::object());
  if (!gradients.contains(name)) return;
  std::vector<Real> want;
  Flatten(gradients.at(name), want);
  ASSERT_EQ(got.size(), static_cast<int64_t>(want.size())) << name;
  Real largest = 0;
  for (const Real value : want) {
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  }
  const Real absolute = (relative < 1e-6L ? 1e-15L : relative) * largest;
  for (int64_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(IsNear(got.at(i), want[i], relative, absolute))
        << name << "[" << i << "] is " << got.at(i) << "; wanted " << want[i];
  }
}

void ExpectMetrics(const Json& entry, const PolicyMetrics& got, Real relative) {
  const Json& outputs = entry.at("expected").value("outputs", Json::object());
  const auto expect = [&](const auto& rows) {
    for (const auto& row : rows) {
      const std::string name(row.name);
      if (!outputs.contains(name)) continue;
      const auto value = static_cast<Real>(got.*row.member);
      EXPECT_TRUE(IsNear(value, NumberOf(outputs.at(name)), relative, relative))
          << name << " is " << value << "; wanted " << outputs.at(name);
    }
  };
  using Rows = SumsRows<PolicyMetrics>;
  expect(Rows::kSums);
  expect(Rows::kCounts);
  expect(Rows::kExtremes);
}

class Goldens : public testing::TestWithParam<Json> {
 protected:
  static ServerProcess& Server() {
    static ServerProcess server;
    return server;
  }
  static Client& Connected() {
    static Client client = *Client::Connect(Server().address(), {.block_bytes = 1});
    return client;
  }

  // As they are asked for: what is expected of them.
  static Answer Room(const Question& question) {
    const LossInputs& in = question.inputs;
    Answer answer;
    answer.gradient = {{in.predictions.desc.dtype, in.predictions.desc.shape},
                       std::vector<std::byte>(in.predictions.bytes.size())};
    if (FactsOf(question.spec.loss).second_gradient) {
      const TensorView& second = *in.second_predictions;
      answer.second_gradient = {{second.desc.dtype, second.desc.shape},
                                std::vector<std::byte>(second.bytes.size())};
    }
    return answer;
  }
  static LossOutputs Into(Answer& answer) {
    LossOutputs into;
    into.gradient = absl::MakeSpan(answer.gradient.bytes);
    into.second_gradient = absl::MakeSpan(answer.second_gradient.bytes);
    return into;
  }

  static Answer InCore(const Question& question) {
    Executor executor(2);
    Answer answer = Room(question);
    LossSpec spec = question.spec;
    spec.outputs.second_gradient = !answer.second_gradient.bytes.empty();
    const auto result = ComputeLoss(spec, question.inputs, Into(answer), executor);
    answer.status = result.status();
    Take(result, answer);
    return answer;
  }

  static void Take(const absl::StatusOr<LossResult>& result, Answer& answer) {
    if (!result.ok()) return;
    answer.loss = result->loss;
    answer.policy = result->policy;
  }

  static Answer ByServer(const Question& question, TransferMode mode) {
    Answer answer = Room(question);
    const auto result =
        Connected().Compute(question.spec, question.inputs, Into(answer), {.mode = mode});
    answer.status = result.status();
    Take(result, answer);
    return answer;
  }

  static Answer ByLossctl(const Question& question, const Json& entry);

  static void Expect(const Json& entry, const Answer& answer, const char* how, Real relative) {
    SCOPED_TRACE(how);
    ASSERT_TRUE(answer.status.ok()) << answer.status;
    const Real want = NumberOf(entry.at("expected").at("loss"));
    EXPECT_TRUE(IsNear(answer.loss, want, relative, 0))
        << "loss is " << answer.loss << "; wanted " << want;
    if (answer.policy) ExpectMetrics(entry, *answer.policy, relative);
    ExpectGradient(entry, "predictions", answer.gradient, relative);
    ExpectGradient(entry, "second_predictions", answer.second_gradient, relative);
  }
};

std::string Flag(const std::string& name, const std::string& value) {
  const std::string option = name == "targets" ? "binary_targets" : name;
  return absl::StrCat("--", absl::StrReplaceAll(option, {{"_", "-"}}), "=", value);
}

// An option of an objective has its name in front.
std::string OptionFlagName(const Json& config, const std::string& name) {
  const bool inner =
      name.starts_with("tau_") || (name.starts_with("ratio_") && name != "ratio_level");
  if (!inner || !config.contains("objective")) return name;
  const std::string objective = absl::AsciiStrToLower(config.at("objective").get<std::string>());
  return absl::StrCat(objective, "_", name);
}

OwnedTensor ReadFile(const std::string& path) {
  const absl::StatusOr<npy::NpyTensor> file = npy::ReadNpy(path);
  EXPECT_TRUE(file.ok()) << file.status();
  if (!file.ok()) return {};
  return {file->view().desc, {file->view().bytes.begin(), file->view().bytes.end()}};
}

Answer Goldens::ByLossctl(const Question& question, const Json& entry) {
  const TempDir directory;
  std::vector<std::string> arguments = {"compute", Flag("server", Server().address()), "--json",
                                        Flag("loss", entry.at("loss_name"))};
  for (const auto& [name, value] : entry.at("config").items()) {
    if (value.is_object()) {
      for (const auto& [inner, of_inner] : value.items()) {
        arguments.push_back(Flag(absl::StrCat(name, "_", inner), of_inner.dump()));
      }
      continue;
    }
    if (name == "denominator" && question.spec.reduction != Reduction::kGiven) continue;
    std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (value.is_array()) text = absl::StrJoin(value.get<std::vector<double>>(), ",");
    arguments.push_back(
        Flag(OptionFlagName(entry.at("config"), name), absl::AsciiStrToLower(text)));
  }
  if (std::holds_alternative<PolicyLoss>(question.spec.loss) &&
      !entry.at("config").contains("input")) {
    arguments.emplace_back("--input=log_probabilities");
  }
  for (const auto& [name, tensor] : question.tensors) {
    const std::string path = directory.Path(absl::StrCat(name, ".npy"));
    EXPECT_TRUE(npy::WriteNpy(path, tensor.view()).ok());
    const bool target =
        name == "class_indices" || name == "class_probabilities" || name == "target_values";
    arguments.push_back(target ? absl::StrCat("--targets=", path) : Flag(name, path));
  }
  Answer answer = Room(question);
  const bool second = !answer.second_gradient.bytes.empty();
  const std::string gradient = directory.Path("gradient.npy");
  const std::string second_gradient = directory.Path("second.npy");
  arguments.push_back(Flag("gradient_out", gradient));
  if (second) arguments.push_back(Flag("second_gradient_out", second_gradient));
  const Outcome outcome = RunLossctl(arguments);
  if (outcome.exit_code != 0) {
    answer.status = absl::UnknownError(outcome.err);
    return answer;
  }
  const Json loss = Json::parse(outcome.out).at("loss");
  answer.loss = loss.is_number()
                    ? loss.get<double>()
                    : static_cast<double>(NumberOf(absl::StrReplaceAll(
                          absl::AsciiStrToLower(loss.get<std::string>()), {{"infinity", "inf"}})));
  answer.gradient = ReadFile(gradient);
  if (second) answer.second_gradient = ReadFile(second_gradient);
  return answer;
}

TEST_P(Goldens, EveryWay) {
  const Json& entry = GetParam();
  const bool close = entry.at("id") == "distillation_forward_kl_close";
  const Real relative = close ? 1e-8L : 1e-11L;
  Question question;
  ReadConfig(entry, question);
  ReadTensors(entry, DType::kF64, question);
  if (!question.missing.empty()) GTEST_SKIP() << "there is no " << question.missing;
  Expect(entry, InCore(question), "core", relative);
  Expect(entry, ByServer(question, TransferMode::kUnary), "one message", relative);
  Expect(entry, ByServer(question, TransferMode::kStream), "stream", relative);
  Expect(entry, ByLossctl(question, entry), "lossctl", relative);
}

// Predictions and everything else rounded to f32 first.
TEST_P(Goldens, InFloat) {
  const Json& entry = GetParam();
  if (entry.at("id") == "distillation_forward_kl_close") GTEST_SKIP() << "not in f32";
  Question question;
  ReadConfig(entry, question);
  ReadTensors(entry, DType::kF32, question);
  if (!question.missing.empty()) GTEST_SKIP() << "there is no " << question.missing;
  Expect(entry, InCore(question), "core", 1e-5L);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Goldens);
INSTANTIATE_TEST_SUITE_P(All, Goldens, testing::ValuesIn(ReadCases()), [](const auto& info) {
  return info.param.at("id").template get<std::string>();
});

TEST(GoldensData, AreThere) {
  if (ReadCases().empty()) {
    GTEST_SKIP() << "NOT TESTED: there are no conformance data in " << DataDirectory()
                 << "; set LOSSD_CONFORMANCE_DIR to a directory that has losses/goldens.json";
  }
}

}  // namespace
}  // namespace lossd
