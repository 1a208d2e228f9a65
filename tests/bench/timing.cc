#include "tests/bench/timing.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_format.h"

namespace lossd::bench {

double Milliseconds(absl::FunctionRef<void()> run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

double Quantile(std::vector<double>& samples, double share) {
  std::sort(samples.begin(), samples.end());
  const auto index = static_cast<size_t>(share * static_cast<double>(samples.size()));
  return samples[std::min(index, samples.size() - 1)];
}

Measured Paired(int repeats, absl::FunctionRef<void()> ours, absl::FunctionRef<void()> reference) {
  ours();
  reference();
  std::vector<double> a;
  std::vector<double> b;
  for (int i = 0; i < repeats; ++i) {
    if (i % 2 == 0) a.push_back(Milliseconds(ours));
    b.push_back(Milliseconds(reference));
    if (i % 2 != 0) a.push_back(Milliseconds(ours));
  }
  Measured measured{.ours = Quantile(a, 0.5), .reference = Quantile(b, 0.5)};
  measured.note = absl::StrFormat("%d x, %.3g..%.3g against %.3g..%.3g", repeats, a.front(),
                                  a.back(), b.front(), b.back());
  return measured;
}

}  // namespace lossd::bench
