#ifndef LOSSD_CLIENT_LOSSCTL_LOSS_FLAGS_H_
#define LOSSD_CLIENT_LOSSCTL_LOSS_FLAGS_H_

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/lossctl/flags.h"
#include "lossd/losses.h"

// The flags that follow from the catalogue of losses: --loss, and one for each option of a loss.
// Options of several losses that have one name share a flag.

namespace lossd::lossctl {

namespace loss_flags_internal {

// The flag of this option is that of every loss, of which some have an option of their own.
inline constexpr std::string_view kShared = "label_smoothing";

// As many as there are options at most: some have one flag.
constexpr size_t CountOptions() {
  size_t count = 0;
  ForEachLoss([&count]<class L>(const L&) {
    ForEachOption<L>([&count]<class T>(const Option<L, T>&) {
      ++count;
      if constexpr (kIsOneOf<T>) {
        ForEachMember<T>([&count]<class M>(const M&) { count += kOptionCount<M>; });
      }
    });
  });
  return count;
}

template <size_t I>
struct Slot {
  FlagText text;
};
template <class Indices>
struct Slots;
template <size_t... I>
struct Slots<std::index_sequence<I...>> : Slot<I>... {
  static constexpr std::array<FlagText Slots::*, sizeof...(I)> kMembers = {&Slot<I>::text...};
};

}  // namespace loss_flags_internal

// The text of each flag of an option.
using OptionFlags =
    loss_flags_internal::Slots<std::make_index_sequence<loss_flags_internal::CountOptions()>>;

// The names of the options (log_floor, ppo_ratio_low) that the first flags are for, in their order.
const std::vector<std::string>& OptionNames();

// The flag of an option. Precondition: some loss has it.
FlagText& OptionFlag(std::string_view option, OptionFlags& flags);

// "--log-floor"; of the option `targets` "--binary-targets".
std::string OptionFlagName(std::string_view option);

// What an option does, a line for each loss that has it.
std::string OptionHelp(std::string_view name);

// What its flag takes: "E", "logits|probabilities".
std::string OptionType(std::string_view name);

// "softmax|multinomial_logistic"
std::string LossNames();

// "logits: softmax", a line for each kind of predictions.
std::string LossPredictionsHelp();

// The loss that --loss names, with default options.
absl::StatusOr<Loss> ReadLoss(const std::string& name);

// The loss with the options that are given; refuses those that it does not have.
absl::StatusOr<Loss> ReadLoss(const FlagText& name, const OptionFlags& flags);

// Whether the loss has an option of that name; it is read where the flag is given.
absl::StatusOr<bool> ReadOptionOf(std::string_view option, const FlagText& flag, Loss& loss);

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_LOSS_FLAGS_H_
