// Connectionist temporal classification: against the sum over all paths, enumerated one by one.

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/support/random.h"

namespace lossd::oracle {
namespace {

constexpr Real kInfinite = std::numeric_limits<Real>::infinity();

// A sequence as the definition has it.
struct Sequence {
  std::vector<std::vector<Real>> logits;  // [frames][classes]
  std::vector<int> labels;
  int blank = 0;
};

// What is left of a path without repetitions and blanks.
std::vector<int> Collapse(const std::vector<int>& path, int blank) {
  std::vector<int> labels;
  for (size_t t = 0; t < path.size(); ++t) {
    if (path[t] == blank || (t > 0 && path[t] == path[t - 1])) continue;
    labels.push_back(path[t]);
  }
  return labels;
}

std::vector<Real> Softmax(const std::vector<Real>& logits) {
  Real top = -kInfinite;
  for (const Real x : logits) top = std::max(top, x);
  std::vector<Real> s;
  Real sum = 0;
  for (const Real x : logits) {
    s.push_back(std::exp(x - top));
    sum += s.back();
  }
  for (Real& value : s) value /= sum;
  return s;
}

struct Expected {
  Real loss = 0;
  std::vector<std::vector<Real>> slope;
};

// Every path of classes, its probability the product over the frames.
Expected EnumeratePaths(const Sequence& sequence) {
  std::vector<std::vector<Real>> s;
  for (const auto& frame : sequence.logits) s.push_back(Softmax(frame));
  const size_t frames = s.size();
  const int classes = frames == 0 ? 1 : static_cast<int>(s[0].size());
  Real whole = 0;
  std::vector<std::vector<Real>> through(frames, std::vector<Real>(classes, 0));
  std::vector<int> path(frames, 0);
  for (bool more = true; more;) {
    if (Collapse(path, sequence.blank) == sequence.labels) {
      Real probability = 1;
      for (size_t t = 0; t < frames; ++t) probability *= s[t][path[t]];
      whole += probability;
      for (size_t t = 0; t < frames; ++t) through[t][path[t]] += probability;
    }
    more = false;
    for (size_t t = 0; t < frames && !more; ++t) {
      more = ++path[t] < classes;
      if (!more) path[t] = 0;
    }
  }
  Expected expected{-std::log(whole), s};
  for (size_t t = 0; t < frames; ++t) {
    for (int k = 0; k < classes; ++k) expected.slope[t][k] -= through[t][k] / whole;
  }
  return expected;
}

// Where the axes of sequences, frames and classes are; no sequences for rank 2.
struct Axes {
  int sequence;
  int frame;
  int cls;
};

struct Problem {
  LossCase c;
  std::vector<Sequence> sequences;
  std::vector<Real> q;
  std::vector<Real> upstream;
  Axes axes;
  int64_t frames = 0;

  int64_t Element(int64_t n, int64_t t, int64_t k) const {
    const TensorDesc& desc = c.predictions.desc;
    std::vector<int64_t> index(desc.shape.size());
    if (axes.sequence >= 0) index[axes.sequence] = n;
    index[axes.frame] = t;
    index[axes.cls] = k;
    int64_t at = 0;
    const int rank = static_cast<int>(index.size());
    for (int i = 0; i < rank; ++i) {
      const int axis = desc.layout == Layout::kRowMajor ? i : rank - 1 - i;
      at = at * desc.shape[axis] + index[axis];
    }
    return at;
  }
};

Problem MakeProblem(const Axes& axes, Layout layout, DType dtype, Random& random) {
  Problem p;
  p.axes = axes;
  const int rank = axes.sequence < 0 ? 2 : 3;
  const int64_t count = rank == 2 ? 1 : 1 + random.Below(3);
  p.frames = 1 + random.Below(5);
  const int64_t classes = 2 + random.Below(2);
  const int64_t room = random.Below(4);
  std::vector<int64_t> shape(rank);
  if (rank == 3) shape[axes.sequence] = count;
  shape[axes.frame] = p.frames;
  shape[axes.cls] = classes;
  LossCase& c = p.c;
  c.predictions =
      OwnedTensor::Make(dtype, shape, layout, [&](int64_t) { return random.Uniform(-3, 3); });
  CtcLoss loss;
  loss.time_axis = axes.frame;
  loss.blank = static_cast<int32_t>(random.Below(classes));
  c.spec.loss = loss;
  c.spec.class_axis = axes.cls - (random.OneIn(2) ? rank : 0);
  const auto drawn = [&](Real low, Real high) {
    return OwnedTensor::Make(DType::kF64, {count}, layout,
                             [&](int64_t) { return random.Uniform(low, high); });
  };
  if (random.OneIn(2)) c.position_weights = drawn(0, 2);
  if (random.OneIn(2)) c.upstream_gradient = drawn(-2, 2);
  std::vector<int64_t> lengths;
  std::vector<int64_t> frames;
  for (int64_t n = 0; n < count; ++n) {
    lengths.push_back(random.Below(room + 1));
    frames.push_back(random.OneIn(2) ? p.frames : random.Below(p.frames + 1));
  }
  const DType index = random.OneIn(2) ? DType::kI64 : DType::kI8;
  c.label_lengths =
      OwnedTensor::Make(index, {count}, layout, [&](int64_t n) { return Real(lengths[n]); });
  if (random.OneIn(2)) {
    c.input_lengths =
        OwnedTensor::Make(index, {count}, layout, [&](int64_t n) { return Real(frames[n]); });
  } else {
    frames.assign(count, p.frames);
  }
  const auto label = [&](int64_t) {
    return Real((loss.blank + 1 + random.Below(classes - 1)) % classes);
  };
  c.targets = OwnedTensor::Make(index, {count, room}, layout, label);
  for (int64_t n = 0; n < count; ++n) {
    Sequence s;
    s.blank = loss.blank;
    for (int64_t t = 0; t < frames[n]; ++t) {
      s.logits.emplace_back();
      for (int64_t k = 0; k < classes; ++k) {
        s.logits.back().push_back(c.predictions.at(p.Element(n, t, k)));
      }
    }
    for (int64_t i = 0; i < lengths[n]; ++i) {
      const int64_t at = layout == Layout::kRowMajor ? n * room + i : i * count + n;
      s.labels.push_back(static_cast<int>(c.targets.at(at)));
    }
    p.sequences.push_back(std::move(s));
    p.q.push_back(c.position_weights ? c.position_weights->at(n) : 1);
    p.upstream.push_back(c.upstream_gradient ? c.upstream_gradient->at(n) : 1);
  }
  c.spec.outputs.position_losses = true;
  return p;
}

void ExpectNear(Real got, Real want, Real relative, Real absolute, const std::string& what) {
  if (std::isnan(want) || std::isinf(want)) {
    EXPECT_TRUE(std::isnan(want) ? std::isnan(got) : got == want) << what << " is " << got;
    return;
  }
  EXPECT_LE(std::fabs(got - want), std::fabs(want) * relative + absolute)
      << what << ": " << got << "; wanted " << want;
}

Real LoadDouble(GuardedBuffer& buffer, int64_t i) {
  return Widen(DType::kF64, buffer.span().data() + i * 8);
}

// Checks an answer with REDUCTION_SUM.
void ExpectAnswer(const Problem& p, CoreAnswer& answer) {
  ASSERT_TRUE(answer.status.ok()) << answer.status;
  const DType dtype = p.c.predictions.desc.dtype;
  const Real u = UnitRoundoff(dtype);
  Real sum = 0;
  int64_t infeasible = 0;
  for (size_t n = 0; n < p.sequences.size(); ++n) {
    const Expected want = EnumeratePaths(p.sequences[n]);
    const Real term = p.q[n] == 0 ? 0 : p.q[n] * want.loss;
    sum += term;
    infeasible += std::isinf(want.loss) ? 1 : 0;
    const auto at = static_cast<int64_t>(n);
    ExpectNear(LoadDouble(answer.outputs.position_losses, at), term, 1e-13L, 1e-15L,
               absl::StrCat("loss of sequence ", n));
    for (int64_t t = 0; t < p.frames; ++t) {
      for (int64_t k = 0; k < p.c.predictions.desc.shape[p.axes.cls]; ++k) {
        const bool used = t < static_cast<int64_t>(p.sequences[n].logits.size());
        const Real a = p.q[n] * p.upstream[n];
        const Real slope = !used || a == 0         ? 0
                           : std::isinf(want.loss) ? std::numeric_limits<Real>::quiet_NaN()
                                                   : a * want.slope[t][k];
        const Real got = Widen(
            dtype, answer.outputs.gradient.span().data() + p.Element(at, t, k) * SizeOf(dtype));
        ExpectNear(got, slope, 4 * u, 1e-14L, absl::StrCat("gradient ", n, ", ", t, ", ", k));
      }
    }
  }
  ExpectNear(answer.result.loss, sum, 1e-13L, 1e-15L, "loss");
  EXPECT_EQ(answer.result.infeasible_count, infeasible);
  EXPECT_EQ(answer.result.position_count, static_cast<int64_t>(p.sequences.size()));
}

const std::vector<Axes> kAxes = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},  {2, 0, 1},
                                 {1, 2, 0}, {2, 1, 0}, {-1, 0, 1}, {-1, 1, 0}};

TEST(Ctc, IsTheSumOverAllPaths) {
  constexpr uint64_t kSeed = 51;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  Random random(kSeed);
  for (int round = 0; round < 40; ++round) {
    for (const Axes& axes : kAxes) {
      for (const Layout layout : {Layout::kRowMajor, Layout::kColumnMajor}) {
        const DType dtype = kFloatDTypes[round % 4];
        Problem p = MakeProblem(axes, layout, dtype, random);
        p.c.spec.reduction = Reduction::kSum;
        CoreAnswer answer = RunCore(p.c);
        ExpectAnswer(p, answer);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

// Two frames of one sequence that say A, then blank.
LossCase OneSequence(std::vector<double> labels, InfeasiblePolicy policy) {
  LossCase c;
  CtcLoss loss;
  loss.time_axis = 1;
  loss.infeasible_policy = policy;
  c.spec.loss = loss;
  c.spec.class_axis = 2;
  c.predictions = OwnedTensor::Of(DType::kF64, {1, 2, 3}, {0.5, 1, -1, 2, 0, 0});
  const auto count = static_cast<int64_t>(labels.size());
  c.targets = OwnedTensor::Make(DType::kI64, {1, count}, Layout::kRowMajor,
                                [&](int64_t i) { return Real(labels[i]); });
  c.label_lengths =
      OwnedTensor::Make(DType::kI64, {1}, Layout::kRowMajor, [&](int64_t) { return Real(count); });
  c.spec.outputs.position_losses = true;
  return c;
}

TEST(Ctc, LabelsThatFramesCannotSpell) {
  CoreAnswer zero = RunCore(OneSequence({1, 1}, InfeasiblePolicy::kZero));
  ASSERT_TRUE(zero.status.ok()) << zero.status;
  EXPECT_EQ(zero.result.loss, 0);
  EXPECT_EQ(zero.result.infeasible_count, 1);
  for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(LoadDouble(zero.outputs.gradient, i), 0);

  CoreAnswer infinite = RunCore(OneSequence({1, 1}, InfeasiblePolicy::kInfinite));
  EXPECT_EQ(infinite.result.loss, kInfinite);
  EXPECT_EQ(infinite.result.nonfinite_count, 0);
  EXPECT_TRUE(std::isnan(LoadDouble(infinite.outputs.gradient, 0)));

  const CoreAnswer error = RunCore(OneSequence({1, 1}, InfeasiblePolicy::kError));
  EXPECT_EQ(std::string(error.status.message()),
            "sequence 0 has 2 frames; its 2 labels want at least 3 (ctc.infeasible_policy is "
            "ERROR)");
}

// A class that is -inf in every frame cannot be spelled, however many frames there are.
TEST(Ctc, MaskedLabelsAreInfeasible) {
  LossCase c = OneSequence({1}, InfeasiblePolicy::kError);
  c.predictions.set(1, -kInfinite);
  c.predictions.set(4, -kInfinite);
  EXPECT_EQ(std::string(RunCore(c).status.message()),
            "the frames of sequence 0 cannot spell its labels; ctc.infeasible_policy ERROR wants "
            "all that can");
}

TEST(Ctc, NotANumber) {
  for (const Real bad : {std::numeric_limits<Real>::quiet_NaN(), kInfinite}) {
    LossCase c = OneSequence({1}, InfeasiblePolicy::kInfinite);
    c.predictions.set(5, bad);
    CoreAnswer answer = RunCore(c);
    ASSERT_TRUE(answer.status.ok()) << answer.status;
    EXPECT_TRUE(std::isnan(answer.result.loss));
    EXPECT_EQ(answer.result.nonfinite_count, 1);
    EXPECT_EQ(answer.result.infeasible_count, 0);
    for (int64_t i = 0; i < 6; ++i) EXPECT_TRUE(std::isnan(LoadDouble(answer.outputs.gradient, i)));
  }
}

TEST(Ctc, LongSequencesOnAnyThreads) {
  Random random(52);
  LossCase c;
  c.spec.class_axis = 2;
  CtcLoss loss;
  loss.time_axis = 1;
  c.spec.loss = loss;
  c.predictions = OwnedTensor::Make(DType::kF32, {5, 300, 40}, Layout::kRowMajor,
                                    [&](int64_t) { return random.Uniform(-4, 4); });
  c.targets = OwnedTensor::Make(DType::kI32, {5, 100}, Layout::kRowMajor,
                                [&](int64_t) { return Real(1 + random.Below(39)); });
  c.label_lengths = OwnedTensor::Make(DType::kI32, {5}, Layout::kRowMajor,
                                      [&](int64_t n) { return Real(20 * (n + 1)); });
  c.spec.outputs.position_losses = true;
  Executor one(1);
  Executor three(3);
  const CoreAnswer a = RunCore(c, one);
  const CoreAnswer b = RunCore(c, three);
  ASSERT_TRUE(a.status.ok()) << a.status;
  EXPECT_TRUE(std::isfinite(a.result.loss));
  EXPECT_EQ(BitDifference(a, b), "");
}

struct Refusal {
  const char* name;
  void (*spoil)(LossCase& c);
  const char* message;
};

class CtcRefusals : public testing::TestWithParam<Refusal> {};

TEST_P(CtcRefusals, NameFieldValueAndRange) {
  LossCase c = OneSequence({1, 2}, InfeasiblePolicy::kInfinite);
  GetParam().spoil(c);
  EXPECT_EQ(std::string(RunCore(c).status.message()), GetParam().message);
}

CtcLoss& LossOf(LossCase& c) { return std::get<CtcLoss>(c.spec.loss); }

INSTANTIATE_TEST_SUITE_P(
    All, CtcRefusals,
    testing::Values(
        Refusal{"no_time_axis", [](LossCase& c) { LossOf(c).time_axis.reset(); },
                "ctc.time_axis is not set; wanted the axis of the frames"},
        Refusal{"time_axis", [](LossCase& c) { LossOf(c).time_axis = 2; },
                "ctc.time_axis is 2; wanted an axis of predictions.shape [1,2,3] other than the "
                "class axis 2"},
        Refusal{"no_class_axis", [](LossCase& c) { c.spec.class_axis.reset(); },
                "class_axis is not set; wanted the axis of the classes: the loss ctc has no "
                "default"},
        Refusal{"blank", [](LossCase& c) { LossOf(c).blank = 3; },
                "ctc.blank is 3; wanted a class: 0..2"},
        Refusal{"label_is_blank", [](LossCase& c) { c.targets.set(1, 0); },
                "class_indices[0, 1] is 0; wanted a label in 0..2 other than ctc.blank, 0"},
        Refusal{"label", [](LossCase& c) { c.targets.set(0, 3); },
                "class_indices[0, 0] is 3; wanted a label in 0..2 other than ctc.blank, 0"},
        Refusal{"label_length", [](LossCase& c) { c.label_lengths->set(0, 3); },
                "label_lengths[0] is 3; wanted 0..2"},
        Refusal{"input_length",
                [](LossCase& c) { c.input_lengths = OwnedTensor::Of(DType::kI64, {1}, {-1}); },
                "input_lengths[0] is -1; wanted 0..2"},
        Refusal{"lengths_shape",
                [](LossCase& c) {
                  c.label_lengths = OwnedTensor::Of(DType::kI64, {2}, {1, 1});
                },
                "label_lengths.shape is [2]; wanted [1], one for each sequence"},
        Refusal{"lengths_dtype",
                [](LossCase& c) { c.label_lengths = OwnedTensor::Of(DType::kF32, {1}, {1}); },
                "label_lengths.dtype is f32; wanted i8, i16, i32, i64, u8, u16, u32 or u64"},
        Refusal{"no_lengths", [](LossCase& c) { c.label_lengths.reset(); },
                "label_lengths is not set; wanted a tensor: the loss ctc needs it"},
        Refusal{"labels_shape",
                [](LossCase& c) {
                  c.targets = OwnedTensor::Of(DType::kI64, {2}, {1, 2});
                },
                "class_indices.shape is [2]; wanted [1, S]: the labels of each sequence"},
        Refusal{"rank",
                [](LossCase& c) {
                  c.predictions.desc.shape = {1, 1, 2, 3};
                  c.spec.class_axis = 3;
                },
                "predictions.shape is [1,1,2,3]; wanted rank 3, or rank 2 for one sequence, "
                "with the loss ctc"},
        Refusal{"position_weights",
                [](LossCase& c) {
                  c.position_weights = OwnedTensor::Of(DType::kF32, {1, 2}, {1, 1});
                },
                "position_weights.shape is [1,2]; wanted [1], one for each sequence"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace lossd::oracle
