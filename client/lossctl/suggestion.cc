#include "client/lossctl/suggestion.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/flags/values.h"

namespace lossd::lossctl {
namespace {

struct Meaning {
  absl::string_view theirs;  // without '-', '_' and capitals
  absl::string_view ours;
};

constexpr Meaning kLossNames[] = {
    {"crossentropy", "softmax (of logits; of probabilities: multinomial_logistic)"},
    {"crossentropyloss", "softmax"},
    {"ce", "softmax"},
    {"logitcrossentropy", "softmax"},
    {"logsoftmax", "softmax"},
    {"softmaxloss", "softmax"},
    {"softmaxcrossentropy", "softmax"},
    {"softmaxcrossentropywithlogits", "softmax"},
    {"sparsesoftmaxcrossentropywithlogits", "softmax"},
    {"categoricalcrossentropy", "softmax (of logits; of probabilities: multinomial_logistic)"},
    {"sparsecategoricalcrossentropy",
     "softmax (of logits; of probabilities: multinomial_logistic)"},
    {"nllloss", "nll"},
    {"negativeloglikelihood", "nll"},
    {"multinomial", "multinomial_logistic"},
    {"multinomiallogisticloss", "multinomial_logistic"},
    {"logloss", "multinomial_logistic"},
    {"mse", "squared_error"},
    {"mseloss", "squared_error"},
    {"meansquarederror", "squared_error"},
    {"l2", "squared_error (--loss-weight=0.5 where the square is halved)"},
    {"l2loss", "squared_error with --loss-weight=0.5"},
    {"squareloss", "squared_error with --loss-weight=0.5"},
    {"mae", "absolute_error"},
    {"l1", "absolute_error"},
    {"l1loss", "absolute_error"},
    {"meanabsoluteerror", "absolute_error"},
    {"smoothl1loss", "smooth_l1"},
    {"huberloss", "huber"},
    {"logcoshloss", "log_cosh"},
    {"pinball", "quantile"},
    {"pinballloss", "quantile"},
    {"poissonnllloss", "poisson_nll"},
    {"poisson", "poisson_nll"},
    {"gaussiannllloss", "gaussian_nll"},
    {"vae", "gaussian_kl with --spread=log_variance"},
    {"bce", "binary_cross_entropy (of probabilities: --input=probabilities)"},
    {"bceloss", "binary_cross_entropy with --input=probabilities"},
    {"bcewithlogits", "binary_cross_entropy"},
    {"bcewithlogitsloss", "binary_cross_entropy"},
    {"binarycrossentropywithlogits", "binary_cross_entropy"},
    {"sigmoidcrossentropy", "binary_cross_entropy"},
    {"sigmoidbinarycrossentropy", "binary_cross_entropy"},
    {"siglip", "binary_cross_entropy with --reduction=batch"},
    {"softmargin", "binary_cross_entropy with --binary-targets=signed"},
    {"softmarginloss", "binary_cross_entropy with --binary-targets=signed"},
    {"focal", "sigmoid_focal (of classes: softmax with --focal-gamma)"},
    {"focalloss", "sigmoid_focal (of classes: softmax with --focal-gamma)"},
    {"sigmoidfocalloss", "sigmoid_focal with --alpha=0.25"},
    {"marginrankingloss", "margin_ranking"},
    {"bradleyterry", "pairwise_logistic"},
    {"reward", "pairwise_logistic"},
    {"dpo", "preference"},
    {"ipo", "preference with --variant=ipo"},
    {"simpo", "preference with --variant=simpo"},
    {"orpo", "preference with --variant=orpo"},
    {"cpo", "preference with --variant=cpo"},
    {"slic", "preference with --variant=hinge"},
    {"reinforce", "policy with --objective=importance_sampling"},
    {"importancesampling", "policy with --objective=importance_sampling"},
    {"ppo", "policy with --objective=ppo"},
    {"grpo", "policy with --objective=ppo and --kl-coefficient"},
    {"drgrpo", "policy with --objective=ppo and --reduction=given"},
    {"dapo", "policy with --objective=ppo, --ppo-ratio-high=1.28 and --reduction=given"},
    {"cispo", "policy with --objective=cispo"},
    {"dro", "policy with --objective=dro"},
    {"sapo", "policy with --objective=sapo"},
    {"critic", "value"},
};

constexpr Meaning kReductionNames[] = {
    {"mean",
     "positions (divides by their number), or weight_sum (PyTorch's mean: by the weights "
     "of those not ignored)"},
    {"elementwisemean", "positions"},
    {"average", "positions"},
    {"sumoverbatchsize", "positions"},
    {"batchmean", "batch"},
    {"tokenmean", "valid"},
    {"meanvalid", "valid"},
    {"sumbynonzeroweights", "valid"},
    {"total", "sum"},
};

constexpr Meaning kFlagNames[] = {
    {"ignoreindex", "--ignore-label"},
    {"ignoreclass", "--ignore-label"},
    {"padtoken", "--ignore-label"},
    {"weight", "--class-weights (of classes), --position-weights or --loss-weight"},
    {"weights", "--class-weights (of classes), --position-weights or --loss-weight"},
    {"classweight", "--class-weights"},
    {"sampleweight", "--position-weights"},
    {"mask", "--position-weights (0 and 1)"},
    {"lossmask", "--position-weights (0 and 1)"},
    {"logits", "--predictions"},
    {"input", "--predictions"},
    {"inputs", "--predictions"},
    {"scores", "--predictions"},
    {"labels", "--targets"},
    {"label", "--targets"},
    {"target", "--targets"},
    {"axis", "--class-axis"},
    {"dim", "--class-axis"},
    {"dims", "--class-axis"},
    {"smoothing", "--label-smoothing"},
    {"gradoutput", "--upstream-gradient"},
    {"gradout", "--gradient-out"},
    {"output", "--gradient-out"},
    {"normalizer", "--denominator with --reduction=given"},
    {"numitemsinbatch", "--denominator with --reduction=given"},
    {"fromlogits", "--loss=softmax (of logits) or --loss=multinomial_logistic (of probabilities)"},
    {"sizeaverage", "--reduction"},
    {"order", "--fortran-order"},
    {"host", "--server=host:port"},
    {"port", "--server=host:port"},
    {"address", "--server"},
    {"addr", "--server"},
    {"url", "--server"},
    {"endpoint", "--server"},
    {"deadline", "--timeout"},
    {"token", "--token-file"},
    {"cacert", "--tls-ca"},
    {"cert", "--tls-cert"},
    {"key", "--tls-key"},
    {"secure", "--tls"},
};

std::string Folded(absl::string_view word) {
  std::string folded;
  for (const char c : word) {
    if (c != '-' && c != '_') folded.push_back(absl::ascii_tolower(c));
  }
  return folded;
}

template <class Names>
std::string Meant(absl::string_view word, absl::Span<const Meaning> meanings, const Names& names) {
  const std::string folded = Folded(word);
  for (const Meaning& meaning : meanings) {
    if (folded == meaning.theirs) return absl::StrCat("; did you mean ", meaning.ours, "?");
  }
  absl::string_view nearest;
  size_t least = 3;
  for (const absl::string_view name : names) {
    const size_t distance = EditDistance(folded, Folded(name));
    if (distance >= least || distance * 2 > folded.size()) continue;
    least = distance;
    nearest = name;
  }
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?");
}

}  // namespace

std::string MeantValue(absl::string_view flag, absl::string_view value,
                       absl::Span<const absl::string_view> names) {
  absl::Span<const Meaning> meanings;
  if (flag == "--loss") meanings = kLossNames;
  if (flag == "--reduction") meanings = kReductionNames;
  return Meant(value, meanings, names);
}

std::string MeantFlag(absl::string_view flag, absl::Span<const std::string> names) {
  return Meant(flag, kFlagNames, names);
}

}  // namespace lossd::lossctl
