#include "lossd/dtype.h"

#include <iterator>

namespace lossd {
namespace {

struct Row {
  std::string_view name;
  int64_t size;
  bool floating;
};

// Indexed by the value of the enum.
constexpr Row kRows[] = {
    {"?", 0, false},   {"f32", 4, true},  {"f64", 8, true},  {"f16", 2, true},  {"bf16", 2, true},
    {"i8", 1, false},  {"i16", 2, false}, {"i32", 4, false}, {"i64", 8, false}, {"u8", 1, false},
    {"u16", 2, false}, {"u32", 4, false}, {"u64", 8, false},
};
static_assert(std::size(kRows) == std::size(kAllDTypes) + 1);

const Row& RowOf(DType dtype) { return kRows[static_cast<int>(dtype)]; }

}  // namespace

int64_t SizeOf(DType dtype) { return RowOf(dtype).size; }
bool IsFloating(DType dtype) { return RowOf(dtype).floating; }
std::string_view Name(DType dtype) { return RowOf(dtype).name; }

std::optional<DType> ParseDType(std::string_view name) {
  for (const DType dtype : kAllDTypes) {
    if (Name(dtype) == name) return dtype;
  }
  return std::nullopt;
}

}  // namespace lossd
