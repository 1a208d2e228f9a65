#include "client/lossctl/loss_flags.h"

#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/lossctl/units.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

// Calls visit(name of the loss, option) for every option of that name.
template <class Visit>
void ForEachOption(std::string_view name, Visit visit) {
  ForEachLoss([&]<class L>(const L&) {
    for (const Option<L>& option : LossRow<L>::kOptions) {
      if (option.name == name) visit(std::string(LossRow<L>::kName), option);
    }
  });
}

// Where the loss keeps an option; nullptr where it has none of that name.
double* FindOption(std::string_view name, Loss& any) {
  return std::visit(
      [name]<class L>(L& loss) -> double* {
        for (const Option<L>& option : LossRow<L>::kOptions) {
          if (option.name == name) return &(loss.*option.member);
        }
        return nullptr;
      },
      any);
}

absl::Status NotAnOption(std::string_view name) {
  std::vector<std::string> losses;
  ForEachOption(name, [&](const std::string& loss, const auto&) { losses.push_back(loss); });
  return absl::InvalidArgumentError(absl::StrCat(
      OptionFlagName(name), " is an option of --loss=", absl::StrJoin(losses, ", "), " only"));
}

}  // namespace

FlagText& OptionFlag(std::string_view option, OptionFlags& flags) {
  size_t index = 0;
  while (OptionName(index) != option) ++index;
  return flags.*OptionFlags::kMembers[index];
}

std::string OptionFlagName(std::string_view option) {
  return absl::StrCat("--", absl::StrReplaceAll(std::string(option), {{"_", "-"}}));
}

std::string OptionHelp(std::string_view name) {
  std::vector<std::string> lines;
  ForEachOption(name, [&](const std::string& loss, const auto& option) {
    lines.push_back(absl::StrCat(loss, ": ", std::string(option.help), ";\ndefault ",
                                 ShortestNumber(option.default_value())));
  });
  return absl::StrJoin(lines, "\n");
}

std::string LossNames() {
  return absl::StrJoin(kLossFacts, "|",
                       [](std::string* names, const LossFacts& loss) { names->append(loss.name); });
}

std::string LossPredictionsHelp() {
  std::vector<std::string> lines;
  for (const Domain domain :
       {Domain::kLogits, Domain::kProbabilities, Domain::kLogProbabilities, Domain::kNumbers}) {
    std::vector<std::string> names;
    for (const LossFacts& loss : kLossFacts) {
      if (loss.predictions == domain) names.emplace_back(loss.name);
    }
    lines.push_back(absl::StrCat(std::string(NameOf(domain)), ": ", absl::StrJoin(names, ", ")));
  }
  return absl::StrJoin(lines, "\n");
}

absl::StatusOr<Loss> ReadLoss(const std::string& name) {
  std::vector<Choice<Loss>> choices;
  for (size_t i = 0; i < kLossCount; ++i) {
    choices.push_back({kLossFacts[i].name.data(), kDefaultLosses[i]});
  }
  return ParseChoice("--loss", name, absl::MakeConstSpan(choices));
}

absl::StatusOr<Loss> ReadLoss(const FlagText& name, const OptionFlags& flags) {
  LOSSD_ASSIGN_OR_RETURN(const std::string text, Required("--loss", name));
  LOSSD_ASSIGN_OR_RETURN(Loss loss, ReadLoss(text));
  for (size_t i = 0; i < OptionFlags::kMembers.size(); ++i) {
    const FlagText& flag = flags.*OptionFlags::kMembers[i];
    if (!flag) continue;
    const std::string_view option = OptionName(i);
    double* const value = FindOption(option, loss);
    if (value == nullptr) return NotAnOption(option);
    LOSSD_ASSIGN_OR_RETURN(*value, ParseNumber(OptionFlagName(option), *flag));
  }
  return loss;
}

}  // namespace lossd::lossctl
