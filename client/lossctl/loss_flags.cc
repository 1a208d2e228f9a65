#include "client/lossctl/loss_flags.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/lossctl/units.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

// "ppo_ratio_low", of an option of a message of a oneof.
template <class M>
std::string InnerName(std::string_view option) {
  return absl::StrCat(std::string(LossRow<M>::kName), "_", std::string(option));
}

std::vector<std::string> MakeOptionNames() {
  std::vector<std::string> names;
  const auto add = [&names](std::string_view option) {
    std::string name(option);
    if (name == loss_flags_internal::kShared || absl::c_linear_search(names, name)) return;
    names.push_back(std::move(name));
  };
  ForEachLoss([&]<class L>(const L&) {
    ForEachOption<L>([&]<class T>(const Option<L, T>& option) {
      if constexpr (!kIsMessage<T>) add(option.name);
      if constexpr (kIsOneOf<T>) {
        ForEachMember<T>([&]<class M>(const M&) {
          ForEachOption<M>([&](const auto& inner) { add(InnerName<M>(inner.name)); });
        });
      }
    });
  });
  return names;
}

// The words of a oneof: the names of its messages.
template <class T>
std::vector<std::string> MemberWords() {
  std::vector<std::string> words;
  ForEachMember<T>([&words]<class M>(const M&) { words.emplace_back(LossRow<M>::kName); });
  return words;
}

// Calls visit(name of the loss, option) for every option of that name.
template <class Visit>
void ForEachNamed(std::string_view name, Visit visit) {
  ForEachLoss([&]<class L>(const L&) {
    const std::string loss(LossRow<L>::kName);
    ForEachOption<L>([&]<class T>(const Option<L, T>& option) {
      if (option.name == name && !kIsMessage<T>) visit(loss, option);
      if constexpr (kIsOneOf<T>) {
        ForEachMember<T>([&]<class M>(const M&) {
          ForEachOption<M>([&](const auto& inner) {
            if (InnerName<M>(inner.name) == name) visit(loss, inner);
          });
        });
      }
    });
  });
}

// The words of an enum as flags have them: "logits".
template <class E>
std::vector<std::string> FlagWords() {
  std::vector<std::string> words;
  for (const std::string_view name : Words<E>::kNames) {
    words.push_back(absl::AsciiStrToLower(std::string(name)));
  }
  return words;
}

template <class T>
std::string DefaultText(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return FlagWords<T>()[static_cast<size_t>(value) - 1];
  } else if constexpr (kIsOptional<T>) {
    return value ? ShortestNumber(static_cast<double>(*value)) : "none";
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (kIsOneOf<T>) {
    return "none: it is required";
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    return value.empty() ? "0.5" : ShortestNumber(value.front());
  } else {
    return ShortestNumber(static_cast<double>(value));
  }
}

// What a flag of an option takes.
template <class T>
std::string TypeText() {
  if constexpr (std::is_enum_v<T>) return absl::StrJoin(FlagWords<T>(), "|");
  if constexpr (kIsOneOf<T>) return absl::StrJoin(MemberWords<T>(), "|");
  if (std::is_same_v<T, bool>) return "true|false";
  if (std::is_same_v<T, int32_t> || std::is_same_v<T, std::optional<int32_t>>) return "N";
  return std::is_same_v<T, std::vector<double>> ? "E,E,..." : "E";
}

absl::StatusOr<std::vector<double>> ParseNumbers(const std::string& flag, const std::string& text) {
  std::vector<double> numbers;
  for (const auto part : absl::StrSplit(text, ',')) {
    LOSSD_ASSIGN_OR_RETURN(const double number, ParseNumber(flag, std::string(part)));
    numbers.push_back(number);
  }
  return numbers;
}

template <class T>
absl::Status ReadOption(const std::string& flag, const std::string& text, T& value) {
  if constexpr (std::is_enum_v<T>) {
    const std::vector<std::string> words = FlagWords<T>();
    std::vector<Choice<T>> choices;
    for (size_t i = 0; i < words.size(); ++i) {
      choices.push_back({words[i].c_str(), static_cast<T>(i + 1)});
    }
    LOSSD_ASSIGN_OR_RETURN(value, ParseChoice(flag, text, absl::MakeConstSpan(choices)));
  } else if constexpr (std::is_same_v<T, bool>) {
    constexpr Choice<bool> kSwitch[] = {{"true", true}, {"false", false}};
    LOSSD_ASSIGN_OR_RETURN(value, ParseChoice(flag, text, absl::MakeConstSpan(kSwitch)));
  } else if constexpr (std::is_same_v<T, int32_t> || std::is_same_v<T, std::optional<int32_t>>) {
    LOSSD_ASSIGN_OR_RETURN(const int64_t number, ParseInteger(flag, text));
    // What no int32 holds is as wrong as the ends are.
    value = static_cast<int32_t>(std::clamp<int64_t>(number, std::numeric_limits<int32_t>::min(),
                                                     std::numeric_limits<int32_t>::max()));
  } else if constexpr (kIsOneOf<T>) {
    std::vector<Choice<T>> choices;
    ForEachMember<T>([&choices]<class M>(const M& message) {
      choices.push_back({LossRow<M>::kName.data(), message});
    });
    LOSSD_ASSIGN_OR_RETURN(value, ParseChoice(flag, text, absl::MakeConstSpan(choices)));
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    LOSSD_ASSIGN_OR_RETURN(value, ParseNumbers(flag, text));
  } else {
    LOSSD_ASSIGN_OR_RETURN(value, ParseNumber(flag, text));
  }
  return absl::OkStatus();
}

absl::Status NotAnOption(std::string_view name) {
  std::vector<std::string> losses;
  ForEachNamed(name, [&](const std::string& loss, const auto&) { losses.push_back(loss); });
  return absl::InvalidArgumentError(absl::StrCat(
      OptionFlagName(name), " is an option of --loss=", absl::StrJoin(losses, ", "), " only"));
}

}  // namespace

const std::vector<std::string>& OptionNames() {
  static const auto& names = *new std::vector<std::string>(MakeOptionNames());
  return names;
}

FlagText& OptionFlag(std::string_view option, OptionFlags& flags) {
  const auto at = absl::c_find(OptionNames(), option);
  return flags.*OptionFlags::kMembers[at - OptionNames().begin()];
}

std::string OptionFlagName(std::string_view option) {
  if (option == "targets") return "--binary-targets";  // --targets is the file of them
  return absl::StrCat("--", absl::StrReplaceAll(std::string(option), {{"_", "-"}}));
}

std::string OptionHelp(std::string_view name) {
  std::vector<std::string> lines;
  ForEachNamed(name, [&](const std::string& loss, const auto& option) {
    lines.push_back(absl::StrCat(loss, ": ", std::string(option.help), ";\ndefault ",
                                 DefaultText(option.default_value())));
  });
  return absl::StrJoin(lines, "\n");
}

std::string OptionType(std::string_view name) {
  std::vector<std::string> types;
  ForEachNamed(name, [&]<class L, class T>(const std::string&, const Option<L, T>&) {
    if (std::string type = TypeText<T>(); !absl::c_linear_search(types, type)) {
      types.push_back(std::move(type));
    }
  });
  return absl::StrJoin(types, "|");
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

absl::StatusOr<bool> ReadOptionOf(std::string_view option, const FlagText& flag, Loss& loss) {
  bool found = false;
  absl::Status status;
  std::visit(
      [&]<class L>(L& of) {
        const auto read = [&](std::string_view name, auto& value) {
          if (name != option) return;
          found = true;
          if (flag) status = ReadOption(OptionFlagName(option), *flag, value);
        };
        ForEachOption<L>([&]<class T>(const Option<L, T>& its) {
          T& value = of.*its.member;
          if constexpr (!kIsMessage<T>) read(its.name, value);
          if constexpr (kIsOneOf<T>) {
            // Of another message than the one that was chosen they are not found.
            ForEachMember<T>([&]<class M>(const M& message) {
              ForEachOption<M>([&](const auto& inner) {
                if (InnerName<M>(inner.name) != option || !flag) return;
                if (value.index() == 0) value = message;
                if (auto* const chosen = std::get_if<M>(&value)) {
                  read(option, chosen->*inner.member);
                }
              });
            });
          }
        });
      },
      loss);
  LOSSD_RETURN_IF_ERROR(status);
  return found;
}

absl::StatusOr<Loss> ReadLoss(const FlagText& name, const OptionFlags& flags) {
  LOSSD_ASSIGN_OR_RETURN(const std::string text, Required("--loss", name));
  LOSSD_ASSIGN_OR_RETURN(Loss loss, ReadLoss(text));
  for (size_t i = 0; i < OptionNames().size(); ++i) {
    const FlagText& flag = flags.*OptionFlags::kMembers[i];
    if (!flag) continue;
    const std::string& option = OptionNames()[i];
    LOSSD_ASSIGN_OR_RETURN(const bool found, ReadOptionOf(option, flag, loss));
    if (!found) return NotAnOption(option);
  }
  return loss;
}

}  // namespace lossd::lossctl
