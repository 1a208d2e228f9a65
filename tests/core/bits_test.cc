// The bits of answers: a NaN has one form, and of the requests of bits_maker.h every target that
// fuses multiply and add gives what tests/core/bits.golden holds, x86 and ARM alike.

#include <bit>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "tests/core/bits_maker.h"
#include "tests/core/core_run.h"
#include "tests/core/simd_targets.h"

namespace lossd::oracle {
namespace {

// FNV-1a.
class Hash {
 public:
  void Add(absl::Span<const std::byte> bytes) {
    for (const std::byte byte : bytes) hash_ = (hash_ ^ static_cast<uint8_t>(byte)) * kPrime;
  }
  template <class T>
  void AddNumber(T number) {
    Add({reinterpret_cast<const std::byte*>(&number), sizeof number});
  }
  void AddSum(const ExactSum& sum) {
    const ExactSum::Portable portable = sum.ToPortable();
    AddNumber(portable.exponent);
    Add(portable.magnitude);
    AddNumber(portable.nan_terms);
    AddNumber(portable.positive_infinities);
    AddNumber(portable.negative_infinities);
  }
  std::string Text() const { return absl::StrFormat("%016x", hash_); }

 private:
  static constexpr uint64_t kPrime = 0x100000001b3u;
  uint64_t hash_ = 0xcbf29ce484222325u;
};

void AddAnswer(const CoreAnswer& answer, Hash& hash) {
  hash.AddNumber(static_cast<int>(answer.status.code()));
  if (!answer.status.ok()) return;
  const LossResult& result = answer.result;
  for (const double number :
       {result.loss, result.loss_sum, result.weight_sum, result.denominator}) {
    hash.AddNumber(number);
  }
  for (const int64_t count :
       {result.position_count, result.valid_count, result.ignored_count, result.clamped_count,
        result.nonfinite_count, result.correct_count.value_or(-1)}) {
    hash.AddNumber(count);
  }
  hash.AddSum(result.exact.loss_sum);
  hash.AddSum(result.exact.weight_sum);
  for (const OutputRow<GuardedBuffer>& row : kOutputRows<GuardedBuffer>) {
    hash.Add((answer.outputs.*row.member).bytes());
  }
}

void AddRequest(const LossCase& c, Hash& hash) {
  hash.Add(c.predictions.bytes);
  hash.Add(c.targets.bytes);
  for (const auto& tensor :
       {&c.class_weights, &c.position_weights, &c.upstream_gradient, &c.second_predictions,
        &c.pos_weight, &c.class_bias, &c.advantages, &c.old_log_probabilities,
        &c.reference_log_probabilities, &c.second_reference_log_probabilities, &c.old_values,
        &c.sparse_probabilities, &c.ground_metric, &c.label_lengths, &c.input_lengths}) {
    if (*tensor) hash.Add((*tensor)->bytes);
  }
}

// "" where every NaN of the answer is the quiet one without sign and payload; else the first other.
std::string OtherNaN(const LossCase& c, const CoreAnswer& answer) {
  if (!answer.status.ok()) return "";
  const auto is_other = [](DType dtype, const std::byte* bytes) {
    uint64_t bits = 0;
    std::memcpy(&bits, bytes, SizeOf(dtype));
    const uint64_t quiet = dtype == DType::kF64   ? 0x7ff8ull << 48
                           : dtype == DType::kF32 ? 0x7fc0ull << 16
                           : dtype == DType::kF16 ? 0x7e00
                                                  : 0x7fc0;
    return Widen(dtype, bytes) != Widen(dtype, bytes) && bits != quiet;
  };
  const auto number = [&](double value) {
    return is_other(DType::kF64, reinterpret_cast<const std::byte*>(&value));
  };
  if (number(answer.result.loss)) return "loss";
  if (number(answer.result.loss_sum)) return "loss_sum";
  if (number(answer.result.weight_sum)) return "weight_sum";
  const OutputDTypes dtypes = OutputDTypesOf(c.spec, DescsOf(c.inputs()));
  for (size_t i = 0; i < kOutputCount; ++i) {
    const DType dtype = dtypes.Of(kOutputRows<bool>[i].dtype);
    if (!IsFloating(dtype)) continue;
    const auto bytes = (answer.outputs.*kOutputRows<GuardedBuffer>[i].member).bytes();
    for (size_t at = 0; at < bytes.size(); at += SizeOf(dtype)) {
      if (is_other(dtype, bytes.data() + at)) {
        return absl::StrCat(std::string(kOutputRows<bool>[i].name), "[", at / SizeOf(dtype), "]");
      }
    }
  }
  return "";
}

// Rows and lanes; both sides of the lengths at which kernels change their ways. Losses over
// elements see no rows, and have enough with small shapes.
std::vector<std::vector<int64_t>> ShapesOf(const Loss& loss) {
  std::vector<std::vector<int64_t>> shapes = {{9},        {7, 1},     {6, 2},      {5, 3},
                                              {5, 8},     {4, 17},    {3, 64},     {2, 257},
                                              {3, 10, 5}, {2, 3, 70}, {2, 4, 3, 2}};
  if (FactsOf(loss).family == Family::kElements) return shapes;
  for (const std::vector<int64_t>& large : std::vector<std::vector<int64_t>>{
           {3, 100}, {2, 1000}, {1, 2100}, {2, 40, 33}, {1, 130, 20}}) {
    shapes.push_back(large);
  }
  return shapes;
}

// What the golden file calls a loss; of one with sparse targets the loss alone does not say it.
struct NamedLoss {
  std::string name;
  Loss loss;
  bool sparse = false;
};

// A request depends on the place of its loss, so what is new comes last.
const std::vector<NamedLoss>& AllLosses() {
  static const auto& losses = *new std::vector<NamedLoss>([] {
    std::vector<NamedLoss> all;
    const auto add = [&all](const Loss& loss) { all.push_back({NameOf(loss), loss}); };
    for (const auto* of_family : {&kLosses, &kElementLosses}) {
      for (const Loss& loss : *of_family) add(loss);
    }
    for (const char* const name : {"distillation", "kl_divergence", "multi_margin"}) {
      for (const Loss& loss : kRowLosses) {
        if (NameOf(loss) == name) add(loss);
      }
    }
    all.push_back({"policy-of-logits", PolicyOfLogits()});
    SoftmaxLoss softmax;
    softmax.margin = SoftmaxMargin{.scale = 16, .angular = 0.5, .additive = 0.25};
    all.push_back({"softmax-margin", softmax});
    all.push_back({"softmax-sparse", SoftmaxLoss(), /*sparse=*/true});
    PolicyLoss policy = PolicyOfLogits();
    policy.input = PolicyInput::kLogProbabilities;
    policy.ratio_level = RatioLevel::kSequence;
    all.push_back({"policy-of-sequences", policy});
    all.push_back({"quantile-several", SeveralQuantilesLoss()});
    for (const char* const name : {"multi_label_margin", "cosine_embedding", "wasserstein"}) {
      for (const Loss& loss : kRowLosses) {
        if (NameOf(loss) == name) add(loss);
      }
    }
    add(CtcLoss());
    add(TverskyLoss());
    return all;
  }());
  return losses;
}

// What a row of the golden file begins with.
std::string RowOf(const NamedLoss& loss, size_t numbers) {
  return absl::StrCat(loss.name, " ", std::string(kNumbersNames[numbers]));
}

// Some losses cost the square of the classes, or want two of them.
bool FitsShape(const Loss& loss, const std::vector<int64_t>& shape) {
  const int64_t classes = shape.size() == 1 ? shape[0] : shape[1];
  if (std::holds_alternative<WassersteinLoss>(loss)) return classes <= 64;
  if (std::holds_alternative<MultiLabelMarginLoss>(loss)) return classes <= 300;
  if (std::holds_alternative<CtcLoss>(loss)) return shape.size() == 2 && classes > 1;
  const auto* const quantile = std::get_if<QuantileLoss>(&loss);
  return quantile == nullptr || !quantile->several() || classes > 1;
}

// Calls body(case) for numbers of one kind, each case the same on every machine.
template <class Body>
void ForEachCase(size_t of_loss, size_t numbers, Body body) {
  const auto& [name, loss, sparse] = AllLosses()[of_loss];
  Random random(7000 + of_loss * std::size(kNumbersNames) + numbers);
  for (const DType dtype : kFloatDTypes) {
    for (const std::vector<int64_t>& shape : ShapesOf(loss)) {
      if (!FitsShape(loss, shape)) continue;
      Factors factors = {.loss = loss, .dtype = dtype, .margin = false, .shape = shape};
      factors.rank = static_cast<int>(shape.size());
      factors.axis = factors.rank == 1 ? 0 : 1;
      factors.layout = random.OneIn(4) ? Layout::kColumnMajor : Layout::kRowMajor;
      factors.reduction = static_cast<Reduction>(1 + random.Below(7));
      factors.weights = static_cast<WeightsForm>(random.Below(4));
      factors.label_dtype = random.Pick({DType::kI64, DType::kI32, dtype});
      if (sparse) {
        factors.weights = WeightsForm::kNone;
      } else if (FactsOf(loss).family == Family::kElements) {
        factors.target_kind = TargetKind::kTargetValues;
      } else if (Takes(FactsOf(loss), Role::kClassProbabilities) && random.OneIn(3)) {
        factors.target_kind = TargetKind::kClassProbabilities;
      }
      if (!factors.valid()) continue;
      body(sparse ? MakeSparseBitsCase(factors, static_cast<Numbers>(numbers), random)
                  : MakeBitsCase(factors, static_cast<Numbers>(numbers), random));
    }
  }
}

// What the file holds, a line each: the loss, the numbers, the hashes of all requests and of all
// answers. Where a request differs, the answer says nothing.
const std::map<std::string, std::string>& Golden() {
  static const auto& golden = *new std::map<std::string, std::string>([] {
    std::map<std::string, std::string> rows;
    std::ifstream file(LOSSD_SOURCE_DIR "/tests/core/bits.golden");
    for (std::string loss, numbers, asked, answered;
         file >> loss >> numbers >> asked >> answered;) {
      rows[loss + " " + numbers] = asked + " " + answered;
    }
    return rows;
  }());
  return golden;
}

class Bits : public ::testing::TestWithParam<size_t> {};

// Where bits are meant to change, kNumericsVersion rises, and the lines that this prints with a
// plus become those of the file.
TEST_P(Bits, AreGoldenAndNaNsHaveOneForm) {
  const TargetGuard guard;
  int targets = 0;
  for (const std::string& target : kernels::SupportedTargets()) {
    if (!HasFma(target)) continue;
    ASSERT_TRUE(kernels::ForceTarget(target));
    ++targets;
    for (size_t numbers = 0; numbers < std::size(kNumbersNames); ++numbers) {
      const std::string row = RowOf(AllLosses()[GetParam()], numbers);
      Hash asked;
      Hash answered;
      int cases = 0;
      int computed = 0;
      ForEachCase(GetParam(), numbers, [&](const LossCase& c) {
        const CoreAnswer answer = RunCore(c);
        ++cases;
        computed += answer.status.ok() ? 1 : 0;
        AddRequest(c, asked);
        AddAnswer(answer, answered);
        EXPECT_EQ(OtherNaN(c, answer), "") << "is a NaN with a sign or a payload: " << Describe(c);
      });
      EXPECT_GT(computed, cases * 3 / 4);
      const auto wanted = Golden().find(row);
      const std::string golden = wanted == Golden().end() ? "nothing" : wanted->second;
      const std::string hashes = asked.Text() + " " + answered.Text();
      EXPECT_EQ(hashes, golden) << target << "\n+" << row << " " << hashes;
    }
  }
  EXPECT_GT(targets, 0);
}

TEST(LossOfSums, InfinityOverInfinityIsTheOneNaN) {
  PartialSums sums;
  sums.loss_sum.Add(std::numeric_limits<double>::infinity());
  const double loss =
      LossResult::From(sums, std::numeric_limits<double>::infinity(), 0, false).loss;
  EXPECT_EQ(std::bit_cast<uint64_t>(loss), uint64_t{0x7ff8} << 48);
}

TEST(GoldenBits, AreOfLossesThatExist) {
  EXPECT_EQ(Golden().size(), AllLosses().size() * std::size(kNumbersNames));
}

INSTANTIATE_TEST_SUITE_P(EveryLoss, Bits, ::testing::Range(size_t{0}, AllLosses().size()),
                         [](const auto& info) {
                           std::string name = RowOf(AllLosses()[info.param], 0);
                           name.resize(name.find(' '));
                           return absl::StrReplaceAll(name, {{"-", "_"}});
                         });

}  // namespace
}  // namespace lossd::oracle
