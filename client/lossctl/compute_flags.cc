#include "client/lossctl/compute_flags.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/lossctl/choices.h"
#include "client/lossctl/spec_file.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

using Flags = ComputeFlags;

constexpr char kWhat[] = "What to compute";
constexpr char kOptions[] = "Options of a loss";
constexpr char kWeights[] = "Weights and labels";
constexpr char kOthers[] = "Further tensors";
constexpr char kSums[] = "Reduction";
constexpr char kGradient[] = "Gradient";
constexpr char kFiles[] = "Files to write (with the layout of the predictions)";
constexpr char kCall[] = "Server";

constexpr FlagRow<ComputeFlags> kFixed[] = {
    {&Flags::transport, "--transport", kCall, "auto|unary|stream",
     "default auto: by size; one message or a stream of blocks"},
    {&Flags::fan_out, "--fan-out", kCall, "N",
     "streams at once, which several servers share; default 1"},

    {&Flags::spec, "--spec", kWhat, "FILE",
     "in the place of --loss and all options: a LossSpec of the\n"
     "contract, in protobuf's text or JSON format"},
    {&Flags::predictions, "--predictions", kWhat, "F.npy", "required; f32, f64, f16 or bf16"},
    {&Flags::second_predictions, "--second-predictions", kWhat, "F.npy",
     "of losses that take two: shape of the predictions"},
    {&Flags::targets, "--targets", kWhat, "F.npy",
     "required, but of losses that take none; labels 0..C-1 (any integers, or whole floating\n"
     "numbers; the class axis removed or 1), or probabilities;\n"
     "values, of losses over elements"},
    {&Flags::target_kind, "--target-kind", kWhat, "auto|indices|probabilities|values",
     "default auto: values if the loss takes them; probabilities\n"
     "if the targets have the shape of the predictions and C is\n"
     "not 1"},
    {&Flags::class_axis, "--class-axis", kWhat, "N",
     "negative: from the end. Default 1; -2 if the predictions are\n"
     "in Fortran order (column-major); 0 if their rank is 1"},
    {&Flags::fortran_order, "--fortran-order", kWhat, "column-major|storage",
     "what it says of a file: that the batch dimension is the last\n"
     "and the class axis -2 (Julia; the default), or the order of\n"
     "the bytes only (NumPy: as if it were saved in C order)"},

    {&Flags::class_weights, "--class-weights", kWeights, "F.npy",
     "shape [C], of one sample, or of the predictions"},
    {&Flags::weight_normalization, "--weight-normalization", kWeights, "local|global|none",
     "default local: at each location they sum to C;\nglobal: in each sample they average 1"},
    {&Flags::position_weights, "--position-weights", kWeights, "F.npy",
     "one weight per position, or a mask: shape of the labels"},
    {&Flags::pos_weight, "--pos-weight", kWeights, "F.npy",
     "binary_cross_entropy: of targets of 1; shape [C] or [1]"},
    {&Flags::class_bias, "--class-bias", kWeights, "F.npy",
     "softmax: is added to the logits of each class: shape [C]"},
    {&Flags::label_smoothing, "--label-smoothing", kWeights, "E", "in [0, 1]; default 0"},
    {&Flags::loss_weight, "--loss-weight", kWeights, "L",
     "multiplies loss and gradient; default 1"},

    {&Flags::advantages, "--advantages", kOthers, "F.npy", "policy: one for each token"},
    {&Flags::old_log_probabilities, "--old-log-probabilities", kOthers, "F.npy",
     "policy: of the policy that took the tokens"},
    {&Flags::reference_log_probabilities, "--reference-log-probabilities", kOthers, "F.npy",
     "preference, kto, policy: those of the reference"},
    {&Flags::second_reference_log_probabilities, "--second-reference-log-probabilities", kOthers,
     "F.npy", "preference: of the second predictions"},
    {&Flags::old_values, "--old-values", kOthers, "F.npy",
     "value: what the critic said before; with --value-clip"},
    {&Flags::sequence_lengths, "--sequence-lengths", kOthers, "F.npy",
     "policy: tokens of each sequence; with --ratio-level=sequence"},
    {&Flags::label_lengths, "--label-lengths", kOthers, "F.npy", "ctc: labels of each sequence"},
    {&Flags::input_lengths, "--input-lengths", kOthers, "F.npy", "ctc: frames of each sequence"},
    {&Flags::sparse_probabilities, "--sparse-probabilities", kOthers, "F.npy",
     "softmax: the share of each of the K labels of a position"},
    {&Flags::ground_metric, "--ground-metric", kOthers, "F.npy",
     "wasserstein: costs of moving one class to another: [C, C]"},

    {&Flags::reduction, "--reduction", kSums, "positions|valid|weight_sum|batch|\nsum|given|none",
     "what the sum is divided by. Default: the number of\npositions; weight_sum is the mean of "
     "PyTorch"},
    {&Flags::denominator, "--denominator", kSums, "D", "with --reduction=given"},
    {&Flags::all_ignored, "--all-ignored", kSums, "zero|nan|error",
     "the loss where nothing is left to divide by; default zero"},
    {&Flags::non_finite, "--non-finite", kSums, "propagate|error",
     "a row with NaN or +inf; default propagate: that row is NaN"},

    {&Flags::upstream_gradient, "--upstream-gradient", kGradient, "F.npy",
     "multiplies each position's gradient: shape of the labels"},
    {&Flags::gradient_scale, "--gradient-scale", kGradient, "S",
     "multiplies the gradient only; default 1"},
    {&Flags::gradient_dtype, "--gradient-dtype", kGradient, "f32|f64|f16|bf16",
     "default: that of the predictions"},
    {&Flags::second_gradient_dtype, "--second-gradient-dtype", kGradient, "f32|f64|f16|bf16",
     "default: that of the second predictions"},

    {&Flags::gradient_out, "--gradient-out", kFiles, "F.npy", "d(loss)/d(predictions)"},
    {&Flags::position_losses_out, "--position-losses-out", kFiles, "F.npy",
     "f64, shape of the labels: before the division"},
    {&Flags::log_sum_exp_out, "--log-sum-exp-out", kFiles, "F.npy",
     "softmax: f64, shape of the labels"},
    {&Flags::hits_out, "--hits-out", kFiles, "F.npy",
     "u8, shape of the labels: 1 where the maximum is the label;\nalso reports correct_count"},
    {&Flags::probabilities_out, "--probabilities-out", kFiles, "F.npy",
     "softmax: the probabilities of the classes"},
    {&Flags::label_log_probabilities_out, "--label-log-probabilities-out", kFiles, "F.npy",
     "softmax: f64, shape of the labels"},
    {&Flags::entropy_out, "--entropy-out", kFiles, "F.npy", "softmax: f64, shape of the labels"},
    {&Flags::label_rank_out, "--label-rank-out", kFiles, "F.npy",
     "softmax: i32, shape of the labels: the logits above the label's"},
    {&Flags::second_gradient_out, "--second-gradient-out", kFiles, "F.npy",
     "d(loss)/d(second predictions)"},
};

constexpr Choice<WeightNormalization> kNormalizations[] = {
    {"local", WeightNormalization::kLocal},
    {"global", WeightNormalization::kGlobal},
    {"none", WeightNormalization::kNone},
};
constexpr Choice<Reduction> kReductions[] = {
    {"positions", Reduction::kPositions},
    {"valid", Reduction::kValid},
    {"weight_sum", Reduction::kWeightSum},
    {"batch", Reduction::kBatch},
    {"sum", Reduction::kSum},
    {"given", Reduction::kGiven},
    {"none", Reduction::kNone},
};
constexpr Choice<AllIgnoredPolicy> kAllIgnored[] = {
    {"zero", AllIgnoredPolicy::kZero},
    {"nan", AllIgnoredPolicy::kNan},
    {"error", AllIgnoredPolicy::kError},
};
constexpr Choice<NonFinitePolicy> kNonFinite[] = {
    {"propagate", NonFinitePolicy::kPropagate},
    {"error", NonFinitePolicy::kError},
};
constexpr Choice<FortranOrderFlag> kFortranOrders[] = {
    {"column-major", FortranOrderFlag::kColumnMajor},
    {"storage", FortranOrderFlag::kStorage},
};
constexpr Choice<TargetKindFlag> kTargetKinds[] = {
    {"auto", TargetKindFlag::kAuto},
    {"indices", TargetKindFlag::kIndices},
    {"probabilities", TargetKindFlag::kProbabilities},
    {"values", TargetKindFlag::kValues},
};

// Overwrites `value` where the flag is given.
template <class T, class Field>
absl::Status ReadChoice(const char* flag, const FlagText& text, absl::Span<const Choice<T>> choices,
                        Field* value) {
  if (!text) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(*value, ParseChoice(flag, *text, choices));
  return absl::OkStatus();
}

template <class Field>
absl::Status ReadNumber(const char* flag, const FlagText& text, Field* value) {
  if (!text) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(*value, ParseNumber(flag, *text));
  return absl::OkStatus();
}

// The flags that say a part of the spec, but for the options of losses.
constexpr FlagText ComputeFlags::*kSpecFlags[] = {&Flags::loss,
                                                  &Flags::class_axis,
                                                  &Flags::weight_normalization,
                                                  &Flags::label_smoothing,
                                                  &Flags::loss_weight,
                                                  &Flags::reduction,
                                                  &Flags::denominator,
                                                  &Flags::all_ignored,
                                                  &Flags::non_finite,
                                                  &Flags::gradient_scale,
                                                  &Flags::gradient_dtype,
                                                  &Flags::second_gradient_dtype};

absl::Status CheckNoneBesideSpec(const ComputeFlags& flags) {
  const auto refuse = [](absl::string_view flag) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " is given; wanted none beside --spec, whose file says it"));
  };
  for (const FlagRow<ComputeFlags>& row : ComputeFlagTable()) {
    const bool of_spec = row.group == absl::string_view(kOptions) ||
                         std::ranges::find(kSpecFlags, row.text) != std::end(kSpecFlags);
    if (of_spec && flags.*row.text) return refuse(row.name);
  }
  return flags.ignore_labels.empty() ? absl::OkStatus() : refuse("--ignore-label");
}

absl::Status ReadIntegers(const ComputeFlags& flags, LossSpec* spec) {
  if (flags.class_axis) {
    LOSSD_ASSIGN_OR_RETURN(const int64_t axis, ParseInteger("--class-axis", *flags.class_axis));
    if (axis < std::numeric_limits<int>::min() || axis > std::numeric_limits<int>::max()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--class-axis is ", axis, "; wanted an axis of the predictions"));
    }
    spec->class_axis = static_cast<int>(axis);
  }
  for (const std::string& text : flags.ignore_labels) {
    LOSSD_ASSIGN_OR_RETURN(const int64_t label, ParseInteger("--ignore-label", text));
    spec->ignore_labels.push_back(label);
  }
  return absl::OkStatus();
}

// Every side tensor has a flag.
static_assert(std::ranges::all_of(kTensorRows<FlagText>, [](const TensorRow<FlagText>& tensor) {
  return tensor.whole == nullptr ||
         std::ranges::any_of(kFixed, [&](const FlagRow<ComputeFlags>& row) {
           return row.text == static_cast<FlagText Flags::*>(tensor.whole);
         });
}));

// A text that a row of a flag points at; kept for good.
const char* Kept(std::string text) { return (new std::string(std::move(text)))->c_str(); }

// The rows above, behind those that follow from the catalogue of losses.
std::vector<FlagRow<ComputeFlags>> MakeTable() {
  std::vector<FlagRow<ComputeFlags>> table = {
      {&Flags::loss, "--loss", kWhat, Kept(LossNames()),
       Kept(absl::StrCat("required, or --spec; the predictions are\n", LossPredictionsHelp()))}};
  for (size_t i = 0; i < OptionNames().size(); ++i) {
    const std::string& option = OptionNames()[i];
    table.push_back({OptionFlags::kMembers[i], Kept(OptionFlagName(option)), kOptions,
                     Kept(OptionType(option)), Kept(OptionHelp(option))});
  }
  table.insert(table.end(), std::begin(kFixed), std::end(kFixed));
  return table;
}

}  // namespace

absl::Span<const FlagRow<ComputeFlags>> ComputeFlagTable() {
  static const auto& table = *new std::vector<FlagRow<ComputeFlags>>(MakeTable());
  return table;
}

const char* NameOf(FlagText ComputeFlags::*flag) {
  const auto table = ComputeFlagTable();
  return std::ranges::find(table, flag, &FlagRow<ComputeFlags>::text)->name;
}

absl::StatusOr<LossSpec> ReadSpec(const ComputeFlags& flags) {
  if (flags.spec) {
    LOSSD_RETURN_IF_ERROR(CheckNoneBesideSpec(flags));
    LOSSD_ASSIGN_OR_RETURN(const std::string path, Required("--spec", flags.spec));
    return ReadSpecFile(path);
  }
  LossSpec spec;
  LOSSD_ASSIGN_OR_RETURN(spec.loss, ReadLoss(flags.loss, flags));
  LOSSD_RETURN_IF_ERROR(ReadIntegers(flags, &spec));
  LOSSD_RETURN_IF_ERROR(ReadChoice("--weight-normalization", flags.weight_normalization,
                                   absl::MakeConstSpan(kNormalizations),
                                   &spec.weight_normalization));
  LOSSD_ASSIGN_OR_RETURN(const bool own_smoothing,
                         ReadOptionOf("label_smoothing", flags.label_smoothing, spec.loss));
  if (!own_smoothing) {
    LOSSD_RETURN_IF_ERROR(
        ReadNumber("--label-smoothing", flags.label_smoothing, &spec.label_smoothing));
  }
  LOSSD_RETURN_IF_ERROR(ReadNumber("--loss-weight", flags.loss_weight, &spec.loss_weight));
  LOSSD_RETURN_IF_ERROR(ReadChoice("--reduction", flags.reduction, absl::MakeConstSpan(kReductions),
                                   &spec.reduction));
  LOSSD_RETURN_IF_ERROR(ReadNumber("--denominator", flags.denominator, &spec.denominator));
  LOSSD_RETURN_IF_ERROR(ReadNumber("--gradient-scale", flags.gradient_scale, &spec.gradient_scale));
  LOSSD_RETURN_IF_ERROR(ReadChoice("--gradient-dtype", flags.gradient_dtype,
                                   absl::MakeConstSpan(kFloatingDTypes), &spec.gradient_dtype));
  LOSSD_RETURN_IF_ERROR(ReadChoice("--second-gradient-dtype", flags.second_gradient_dtype,
                                   absl::MakeConstSpan(kFloatingDTypes),
                                   &spec.second_gradient_dtype));
  LOSSD_RETURN_IF_ERROR(ReadChoice("--all-ignored", flags.all_ignored,
                                   absl::MakeConstSpan(kAllIgnored), &spec.all_ignored_policy));
  LOSSD_RETURN_IF_ERROR(ReadChoice("--non-finite", flags.non_finite,
                                   absl::MakeConstSpan(kNonFinite), &spec.non_finite_policy));
  return spec;
}

absl::StatusOr<CallOptions> ReadCallOptions(const ComputeFlags& flags) {
  CallOptions options;
  LOSSD_RETURN_IF_ERROR(ReadTimeout(flags.server, &options.timeout));
  LOSSD_RETURN_IF_ERROR(
      ReadChoice("--transport", flags.transport, absl::MakeConstSpan(kTransports), &options.mode));
  if (flags.fan_out) {
    LOSSD_ASSIGN_OR_RETURN(options.fan_out, ParseFanOut("--fan-out", *flags.fan_out));
  }
  return options;
}

absl::StatusOr<std::optional<FortranOrderFlag>> ReadFortranOrder(const ComputeFlags& flags) {
  std::optional<FortranOrderFlag> order;
  LOSSD_RETURN_IF_ERROR(ReadChoice("--fortran-order", flags.fortran_order,
                                   absl::MakeConstSpan(kFortranOrders), &order));
  return order;
}

absl::StatusOr<TargetKindFlag> ReadTargetKind(const ComputeFlags& flags) {
  TargetKindFlag kind = TargetKindFlag::kAuto;
  LOSSD_RETURN_IF_ERROR(
      ReadChoice("--target-kind", flags.target_kind, absl::MakeConstSpan(kTargetKinds), &kind));
  return kind;
}

}  // namespace lossd::lossctl
