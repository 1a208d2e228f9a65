#include "client/call/block_io.h"

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

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
  std::string_view name;
  const ScatteredBytes* from;  // nullptr: missing
  MutableByteSpan to;          // the whole buffer; empty: not wanted
  Runs runs;
};

absl::Status Place(const std::array<Placement, kOutputCount>& placements) {
  for (const Placement& p : placements) {
    if (p.to.empty()) continue;
    const int64_t got = p.from ? p.from->size() : 0;
    if (got != p.runs.total()) {
      return absl::InternalError(absl::StrCat("the server answered with ", got, " bytes of ",
                                              std::string(p.name), "; wanted ", p.runs.total()));
    }
  }
  for (const Placement& p : placements) {
    if (!p.to.empty()) Scatter(*p.from, p.runs, p.to);
  }
  return absl::OkStatus();
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
  std::array<Placement, kOutputCount> placements;
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<MutableByteSpan>& row = kOutputRows<MutableByteSpan>[i];
    const auto& field = outputs.*kOutputRows<std::optional<ScatteredBytes>>[i].member;
    const int64_t size = geometry.OutputSize(row);
    const Runs runs = geometry.in_one_box ? Runs{0, 1, geometry.CountOf(row) * size, 0}
                                          : RunsOf(geometry, box, geometry.RowsOf(row), size);
    placements[i] = {row.name, field ? &*field : nullptr, into.*row.member, runs};
  }
  return Place(placements);
}

absl::Status PlaceWhole(const wire::OutputFields<wire::WireTensor>& outputs,
                        const LossOutputs& into) {
  std::array<Placement, kOutputCount> placements;
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<MutableByteSpan>& row = kOutputRows<MutableByteSpan>[i];
    const auto& field = outputs.*kOutputRows<std::optional<wire::WireTensor>>[i].member;
    const MutableByteSpan to = into.*row.member;
    placements[i] = {row.name, field ? &field->data : nullptr, to, WholeOf(to)};
  }
  return Place(placements);
}

}  // namespace lossd
