#include "server/admission/stream_cost.h"

#include <algorithm>
#include <limits>

namespace lossd {
namespace {

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

int64_t Sum(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? kMost : sum;
}

int64_t Product(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kMost : product;
}

int64_t InputsOf(const LossPlan::BoxBytes& bytes) {
  int64_t sum = 0;
  for (const TensorRow<int64_t>& row : kTensorRows<int64_t>) {
    if (row.block_field != 0) sum = Sum(sum, bytes.*row.in_block);
  }
  return sum;
}

int64_t OutputsOf(const LossPlan::BoxBytes& bytes) {
  int64_t sum = 0;
  for (const OutputRow<int64_t>& row : kOutputRows<int64_t>) sum = Sum(sum, bytes.*row.member);
  return sum;
}

constexpr Box kOnePosition = {0, 1, 0, 1};

}  // namespace

StreamCost::StreamCost(const LossPlan& plan, int64_t positions, int64_t side_bytes,
                       int64_t working_bytes, int in_flight)
    : fixed_(Sum(side_bytes, working_bytes)), in_flight_(in_flight) {
  const LossPlan::BoxBytes one = plan.BytesOf(kOnePosition);
  const int64_t in = Product(InputsOf(one), positions);
  upload_ = Sum(in, side_bytes);
  all_ = Sum(Sum(upload_, fixed_), Product(OutputsOf(one), positions));
  out_per_in_ = static_cast<double>(OutputsOf(one)) / static_cast<double>(InputsOf(one));
}

int64_t StreamCost::WithMessages(int64_t message_bytes) const {
  const double outputs = static_cast<double>(message_bytes) * out_per_in_;
  const int64_t each = Sum(message_bytes, outputs < 0x1p62 ? static_cast<int64_t>(outputs) : kMost);
  return std::min(all_, Sum(fixed_, Product(each, in_flight_)));
}

int64_t StreamCost::Initial(int64_t max_message_bytes) const {
  return std::min(all_, std::max(WithMessages(kUsualMessageBytes), Sum(fixed_, max_message_bytes)));
}

int64_t OutputBytes(const LossPlan& plan) { return OutputsOf(plan.BytesOf(plan.whole())); }

}  // namespace lossd
