#ifndef LOSSD_TESTS_SUPPORT_ORACLE_VECTORS_H_
#define LOSSD_TESTS_SUPPORT_ORACLE_VECTORS_H_

#include "tests/support/oracle_row.h"

namespace lossd::oracle {

// Losses that compare the numbers of a row with each other, with one target, or with another row:
// from the definitions in docs/semantics.md. They fill in the sum of the terms and the slopes.
void QuantilesRow(const QuantileLoss& loss, const Row& row, Real u, Real smallest,
                  RowAnswer& answer);
void MultiLabelMarginRow(const Row& row, Real u, Real smallest, RowAnswer& answer);
void CosineEmbeddingRow(const CosineEmbeddingLoss& loss, const Row& row, Real u, Real smallest,
                        RowAnswer& answer);
void WassersteinRow(const WassersteinLoss& loss, const Row& row, Real u, Real smallest,
                    RowAnswer& answer);

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_SUPPORT_ORACLE_VECTORS_H_
