#ifndef LOSSD_TESTS_FAULTS_STORM_CALLS_H_
#define LOSSD_TESTS_FAULTS_STORM_CALLS_H_

#include <string>

#include "absl/types/span.h"
#include "tests/faults/http2.h"
#include "tests/support/random.h"

namespace lossd {

// One call as it goes over the line.
struct StormCall {
  std::string path;
  std::string body;  // messages with their prefixes
};

// A kind of call: of `weight` in the sum of all weights, one call is of this kind.
struct StormRow {
  const char* name;
  int weight;
  StormCall (*make)(oracle::Random&);
};

// Right calls, wrong calls, and calls of what is not there; where STORM_ROWS is in the environment,
// those of that list (name,name) alone.
absl::Span<const StormRow> StormRows();

// What a caller may say beside the call: deadlines, sizes, ids, right and wrong.
http2::Fields StormMetadata(oracle::Random& random, size_t body_bytes);

// A row of a table, by the weights.
template <class Row>
const Row& PickRow(absl::Span<const Row> rows, oracle::Random& random) {
  int64_t sum = 0;
  for (const Row& row : rows) sum += row.weight;
  int64_t at = random.Below(sum);
  const Row* row = rows.data();
  while (at >= row->weight) at -= (row++)->weight;
  return *row;
}

}  // namespace lossd

#endif  // LOSSD_TESTS_FAULTS_STORM_CALLS_H_
