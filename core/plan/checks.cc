#include "core/plan/checks.h"

#include <charconv>
#include <cmath>
#include <iterator>
#include <string>
#include <tuple>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/plan/geometry.h"
#include "lossd/status_macros.h"

namespace lossd::plan {
namespace {

// Abseil's StrCat takes std::string_view where the two types are one, and only there.
absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// nullptr: the loss does not take the tensor.
const TensorRule* RuleOf(const TensorFacts& row, absl::Span<const TensorRule> rules) {
  for (const TensorRule& rule : rules) {
    if (rule.role == row.role) return &rule;
  }
  return nullptr;
}

// "class_indices or class_probabilities": the tensors of which the loss takes one.
std::string Choice(absl::Span<const TensorRule> rules) {
  std::string names;
  for (const TensorFacts& row : kTensorRows<TensorDesc>) {
    const TensorRule* const rule = RuleOf(row, rules);
    if (rule == nullptr || rule->presence != Presence::kOneOf) continue;
    absl::StrAppend(&names, names.empty() ? "" : " or ", View(row.name));
  }
  return names;
}

}  // namespace

std::string Field::Text() const {
  const absl::string_view dot = message.empty() ? "" : ".";
  return absl::StrCat(View(message), dot, View(name));
}

absl::Status Refuse(const Field& field, std::string_view value, std::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat(field.Text(), " is ", View(value), "; wanted ", View(wanted)));
}

absl::Status RefuseShape(const Field& field, const std::vector<int64_t>& shape,
                         std::string_view wanted) {
  if (shape.size() <= kMaxRank) return Refuse(field, ShapeString(shape), wanted);
  return absl::InvalidArgumentError(
      absl::StrCat(field.Text(), " has rank ", shape.size(), "; wanted ", View(wanted)));
}

std::string NumberString(double value) {
  if (std::isnan(value)) return "nan";
  char text[32];  // the longest is 24: -2.2250738585072014e-308
  const auto [end, error] = std::to_chars(std::begin(text), std::end(text), value);
  return std::string(text, end);
}

absl::Status CheckEnum(const Field& field, int value, int last, std::string_view wanted) {
  if (value >= 1 && value <= last) return absl::OkStatus();
  if (value == 0) return Refuse(field, "unspecified", wanted);
  return absl::UnimplementedError(
      absl::StrCat(field.Text(), " is ", value, "; wanted ", View(wanted)));
}

absl::Status CheckDTypeKnown(const Field& field, DType dtype) {
  return CheckEnum(field, static_cast<int>(dtype), static_cast<int>(std::size(kAllDTypes)),
                   "f32, f64, f16, bf16, i8, i16, i32, i64, u8, u16, u32 or u64");
}

absl::Status CheckFloating(const Field& field, DType dtype) {
  LOSSD_RETURN_IF_ERROR(CheckDTypeKnown(field, dtype));
  if (IsFloating(dtype)) return absl::OkStatus();
  return Refuse(field, Name(dtype), "f32, f64, f16 or bf16");
}

absl::Status CheckInteger(const Field& field, DType dtype) {
  LOSSD_RETURN_IF_ERROR(CheckDTypeKnown(field, dtype));
  if (!IsFloating(dtype)) return absl::OkStatus();
  return Refuse(field, Name(dtype), "i8, i16, i32, i64, u8, u16, u32 or u64");
}

absl::Status CheckTensorRules(std::string_view loss, absl::Span<const TensorRule> rules,
                              const LossTensorDescs& tensors) {
  bool wants_choice = false;           // of several tensors
  bool has_choice = false;             // whether one of these is given
  const TensorFacts* alone = nullptr;  // kTogether, given; and one that is not
  const TensorFacts* missing = nullptr;
  for (const TensorRow<TensorDesc>& row : kTensorRows<TensorDesc>) {
    const bool given = TensorOf(tensors, row) != nullptr;
    const TensorRule* const rule = RuleOf(row, rules);
    if (rule == nullptr) {
      if (!given) continue;
      return Refuse(row.name, "given",
                    absl::StrCat("none: the loss ", View(loss), " does not take it"));
    }
    if (rule->presence == Presence::kRequired && !given) {
      return Refuse(row.name, "not set",
                    absl::StrCat("a tensor: the loss ", View(loss), " needs it"));
    }
    if (rule->presence == Presence::kTogether) (given ? alone : missing) = &row;
    if (rule->presence != Presence::kOneOf) continue;
    wants_choice = true;
    has_choice |= given;
  }
  if (alone != nullptr && missing != nullptr) {
    return Refuse(missing->name, "not set",
                  absl::StrCat("a tensor, since ", View(alone->name), " is given"));
  }
  if (!wants_choice || has_choice) return absl::OkStatus();
  return Refuse("targets", "not set",
                absl::StrCat(Choice(rules), ": the loss ", View(loss), " needs it"));
}

absl::Status CheckNeeds(const Loss& loss, const LossTensorDescs& tensors) {
  absl::Status status;
  std::visit(
      [&]<class L>(const L& options) {
        const auto check = [&](const Need<L>& need) {
          const TensorFacts& facts = FactsOf(need.role);
          const bool given = HasTensor(tensors, need.role);
          if (given == need.needed(options) || !status.ok()) return;
          status =
              Refuse(facts.name, given ? "given" : "not set",
                     absl::StrCat(given ? "none unless " : "a tensor: ", View(LossRow<L>::kName),
                                  ".", View(need.when)));
        };
        std::apply([&](const auto&... need) { (check(need), ...); }, LossRow<L>::kNeeds);
        const auto refuse = [&](const TensorConflict<L>& refusal) {
          if (!status.ok() || !HasTensor(tensors, refusal.role) || !refusal.refused(options))
            return;
          status = Refuse(FactsOf(refusal.role).name, "given", refusal.wanted);
        };
        std::apply([&](const auto&... refusal) { (refuse(refusal), ...); },
                   LossRow<L>::kTensorConflicts);
      },
      loss);
  return status;
}

}  // namespace lossd::plan
