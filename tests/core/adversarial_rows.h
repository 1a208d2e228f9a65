#ifndef LOSSD_TESTS_CORE_ADVERSARIAL_ROWS_H_
#define LOSSD_TESTS_CORE_ADVERSARIAL_ROWS_H_

#include <cstdint>
#include <vector>

#include "lossd/dtype.h"
#include "tests/support/random.h"
#include "tests/support/real.h"

namespace lossd::oracle {

// A row of n predictions made to break something. The comment at each generator says what.
using RowMaker = std::vector<Real> (*)(int64_t n, DType dtype, Random& random);

struct AdversarialRow {
  const char* name;
  RowMaker make;
};

// Rows with a finite softmax loss whatever the label.
const std::vector<AdversarialRow>& FiniteRows();

// Rows with masked classes, infinities and NaN.
const std::vector<AdversarialRow>& NonFiniteRows();

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_CORE_ADVERSARIAL_ROWS_H_
