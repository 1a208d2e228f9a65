#include "client/block_io.h"

#include <array>
#include <cstring>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lossd {
namespace {

// Below this, copying a run costs less than carrying it as a slice of its own.
constexpr int64_t kLongRunBytes = 16 << 10;

wire::Payload Packed(ByteSpan tensor, const Runs& runs) {
  const auto packed = std::make_shared<std::vector<std::byte>>(runs.total());
  for (int64_t i = 0; i < runs.count; ++i) {
    std::memcpy(packed->data() + i * runs.bytes, tensor.data() + runs.first + i * runs.stride,
                runs.bytes);
  }
  return {*packed, [packed] {}};
}

// One output: what came, where it goes.
struct Placement {
  absl::string_view name;
  const ScatteredBytes* from;  // nullptr: missing
  MutableByteSpan to;          // the whole buffer; empty: not wanted
  Runs runs;
};

absl::Status Place(const std::array<Placement, 5>& placements) {
  for (const Placement& p : placements) {
    if (p.to.empty()) continue;
    const int64_t got = p.from ? p.from->size() : 0;
    if (got != p.runs.total()) {
      return absl::InternalError(absl::StrCat("the server answered with ", got, " bytes of ",
                                              p.name, "; wanted ", p.runs.total()));
    }
  }
  for (const Placement& p : placements) {
    if (!p.to.empty()) Scatter(*p.from, p.runs, p.to);
  }
  return absl::OkStatus();
}

template <class T>
const T* Get(const std::optional<T>& field) {
  return field.has_value() ? &*field : nullptr;
}

const ScatteredBytes* Data(const std::optional<wire::WireTensor>& field) {
  return field.has_value() ? &field->data : nullptr;
}

Runs WholeOf(MutableByteSpan buffer) { return {0, 1, static_cast<int64_t>(buffer.size()), 0}; }

}  // namespace

Runs RunsOf(const Geometry& geometry, const Box& box, int64_t rows, int64_t element_size) {
  const int64_t row_bytes = geometry.inner * element_size;
  const int64_t first = box.outer_begin * rows * row_bytes + box.inner_begin * element_size;
  const int64_t count = box.outer_count * rows;
  if (box.inner_count == geometry.inner) return {first, 1, count * row_bytes, 0};
  return {first, count, box.inner_count * element_size, row_bytes};
}

std::vector<wire::Payload> Gather(ByteSpan tensor, const Runs& runs, const Loans& loans) {
  std::vector<wire::Payload> payloads;
  if (runs.count > 1 && runs.bytes < kLongRunBytes) {
    payloads.push_back(Packed(tensor, runs));
    return payloads;
  }
  payloads.reserve(runs.count);
  for (int64_t i = 0; i < runs.count; ++i) {
    payloads.push_back(loans.Lend(tensor.subspan(runs.first + i * runs.stride, runs.bytes)));
  }
  return payloads;
}

void Scatter(const ScatteredBytes& packed, const Runs& runs, MutableByteSpan tensor) {
  for (int64_t i = 0; i < runs.count; ++i) {
    packed.CopyTo(i * runs.bytes, runs.bytes, tensor.data() + runs.first + i * runs.stride);
  }
}

absl::Status PlaceBox(const wire::OutputFields<ScatteredBytes>& outputs, const Geometry& geometry,
                      const Box& box, const LossOutputs& into) {
  const auto classes = [&](int64_t size) { return RunsOf(geometry, box, geometry.classes, size); };
  const auto positions = [&](int64_t size) { return RunsOf(geometry, box, 1, size); };
  return Place({{
      {"gradient", Get(outputs.gradient), into.gradient, classes(geometry.gradient_size)},
      {"probabilities", Get(outputs.probabilities), into.probabilities,
       classes(geometry.prediction_size)},
      {"position_losses", Get(outputs.position_losses), into.position_losses, positions(8)},
      {"log_sum_exp", Get(outputs.log_sum_exp), into.log_sum_exp, positions(8)},
      {"argmax_hits", Get(outputs.argmax_hits), into.argmax_hits, positions(1)},
  }});
}

absl::Status PlaceWhole(const wire::OutputFields<wire::WireTensor>& outputs,
                        const LossOutputs& into) {
  return Place({{
      {"gradient", Data(outputs.gradient), into.gradient, WholeOf(into.gradient)},
      {"probabilities", Data(outputs.probabilities), into.probabilities,
       WholeOf(into.probabilities)},
      {"position_losses", Data(outputs.position_losses), into.position_losses,
       WholeOf(into.position_losses)},
      {"log_sum_exp", Data(outputs.log_sum_exp), into.log_sum_exp, WholeOf(into.log_sum_exp)},
      {"argmax_hits", Data(outputs.argmax_hits), into.argmax_hits, WholeOf(into.argmax_hits)},
  }});
}

}  // namespace lossd
