#include "tests/support/oracle_vectors.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace lossd::oracle {
namespace {

const Real kU64 = UnitRoundoff(DType::kF64);

Real Dot(const std::vector<Real>& a, const std::vector<Real>& b) {
  Real sum = 0;
  for (size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
  return sum;
}

}  // namespace

void QuantilesRow(const QuantileLoss& loss, const Row& row, Real u, Real smallest,
                  RowAnswer& answer) {
  for (size_t k = 0; k < row.x.size(); ++k) {
    const Real q = loss.quantiles[k];
    const Real d = row.x[k] - row.target;
    const Real cost = d < 0 ? q : 1 - q;
    answer.sum.Add(row.weights[k] * cost, std::fabs(d));
    answer.slope[k] = std::isnan(d) ? d : row.weights[k] * (d < 0 ? -q : d > 0 ? 1 - q : 0);
    answer.slope_bound[k] = 16 * u * std::fabs(answer.slope[k]) + smallest;
  }
}

void MultiLabelMarginRow(const Row& row, Real u, Real smallest, RowAnswer& answer) {
  const Real share = Real(1) / row.classes();
  const std::set<size_t> in_list(row.labels.begin(), row.labels.end());
  for (const size_t j : row.labels) {
    for (size_t i = 0; i < row.x.size(); ++i) {
      if (in_list.count(i) > 0) continue;
      const Real v = 1 - row.x[j] + row.x[i];
      if (v <= 0) continue;
      answer.sum.Add(share, v).Rounded(share * (1 + std::fabs(row.x[j]) + std::fabs(row.x[i])));
      answer.slope[i] += share;
      answer.slope[j] -= share;
    }
  }
  for (size_t k = 0; k < row.x.size(); ++k) {
    answer.slope_bound[k] = 16 * u * std::fabs(answer.slope[k]) + smallest;
  }
}

void CosineEmbeddingRow(const CosineEmbeddingLoss& loss, const Row& row, Real u, Real smallest,
                        RowAnswer& answer) {
  const Real n1 = std::sqrt(Dot(row.x, row.x));
  const Real n2 = std::sqrt(Dot(row.second, row.second));
  if (std::isnan(row.target)) {
    answer.sum.Add(1, row.target);
    return;
  }
  const bool alike = row.target == 1;
  if (n1 == 0 || n2 == 0) {
    answer.clamped = true;
    answer.sum.Add(1, alike ? 1 : std::fmax(Real(0), -Real(loss.margin)));
    return;
  }
  const Real c = Dot(row.x, row.second) / n1 / n2;
  Real distance = 0;  // of the unit vectors
  for (size_t k = 0; k < row.x.size(); ++k) {
    distance += std::pow(row.x[k] / n1 - row.second[k] / n2, 2);
  }
  if (!alike && c <= loss.margin) return;
  answer.sum.Add(1, alike ? distance / 2 : c - loss.margin);
  answer.sum.Rounded(alike ? 4 * std::sqrt(distance) : 4 + std::fabs(loss.margin));
  const Real sign = alike ? -1 : 1;
  for (size_t k = 0; k < row.x.size(); ++k) {
    const Real a = row.x[k] / n1;
    const Real b = row.second[k] / n2;
    const Real size = 64 * kU64 * (std::fabs(a) + std::fabs(b));
    answer.slope[k] = sign * (b - c * a) / n1;
    answer.slope_bound[k] = 16 * u * std::fabs(answer.slope[k]) + size / n1 + smallest;
    answer.second_slope[k] = sign * (a - c * b) / n2;
    answer.second_slope_bound[k] =
        16 * u * std::fabs(answer.second_slope[k]) + size / n2 + smallest;
  }
}

void WassersteinRow(const WassersteinLoss& loss, const Row& row, Real u, Real smallest,
                    RowAnswer& answer) {
  const size_t classes = row.x.size();
  const Real lambda = *loss.lambda;
  const auto has_mass = [](const std::vector<Real>& of) {
    return std::any_of(of.begin(), of.end(), [](Real m) { return m != 0; });
  };
  if (!has_mass(row.x) || !has_mass(row.targets)) return;
  const auto kernel = [&](size_t i, size_t j) { return -lambda * row.metric[i * classes + j]; };
  std::vector<Real> phi(classes, -std::log(Real(classes)));
  std::vector<Real> psi(classes, 0);
  const auto psi_step = [&] {
    for (size_t j = 0; j < classes; ++j) {
      Real sum = 0;
      for (size_t i = 0; i < classes; ++i) sum += std::exp(phi[i] + kernel(i, j));
      psi[j] = std::log(row.targets[j]) - std::log(sum);
    }
  };
  const auto potential = [&](size_t i) {
    Real sum = 0;
    for (size_t j = 0; j < classes; ++j) sum += std::exp(psi[j] + kernel(i, j));
    return -std::log(sum);
  };
  for (int n = 0; n < loss.iterations; ++n) {
    psi_step();
    for (size_t i = 0; i < classes; ++i) phi[i] = std::log(row.x[i]) + potential(i);
  }
  psi_step();
  Real largest = 1;
  for (const Real cost : row.metric) largest = std::fmax(largest, lambda * cost);
  // Each step rounds potentials of that size; the steps contract.
  const Real steps = 64 * kU64 * (largest + 50);
  Real cost = 0;
  for (size_t i = 0; i < classes; ++i) {
    for (size_t j = 0; j < classes; ++j) {
      cost += std::exp(phi[i] + kernel(i, j) + psi[j]) * row.metric[i * classes + j];
    }
  }
  answer.sum.Add(1, cost).Rounded(cost * steps / kU64 / 16);
  std::vector<Real> of(classes);
  Real mean = 0;
  int count = 0;
  for (size_t i = 0; i < classes; ++i) {
    const bool none = row.x[i] == 0;
    of[i] = loss.gradient == PotentialGradient::kPotential ? potential(i) : none ? 0 : phi[i];
    if (none) continue;
    mean += of[i];
    ++count;
  }
  mean /= count;
  Real size = 1;
  for (const Real value : of) size = std::fmax(size, std::fabs(value));
  for (size_t i = 0; i < classes; ++i) {
    const bool none = row.x[i] == 0;
    const bool centred = loss.gradient == PotentialGradient::kPotential ||
                         (loss.gradient == PotentialGradient::kCentred && !none);
    answer.slope[i] = (of[i] - (centred ? mean : 0)) / lambda;
    answer.slope_bound[i] = 16 * u * std::fabs(answer.slope[i]) + steps * size / lambda + smallest;
  }
}

}  // namespace lossd::oracle
