#include "protos/wire/tensor_codec.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"
#include "protos/wire/spec_codec.h"

namespace lossd::wire {
namespace {

constexpr bool Same(auto core, auto on_wire) {
  return static_cast<int>(core) == static_cast<int>(on_wire);
}
static_assert(Same(DType::kF32, v1::DTYPE_F32) && Same(DType::kF64, v1::DTYPE_F64));
static_assert(Same(DType::kF16, v1::DTYPE_F16) && Same(DType::kBF16, v1::DTYPE_BF16));
static_assert(Same(DType::kI8, v1::DTYPE_I8) && Same(DType::kI16, v1::DTYPE_I16));
static_assert(Same(DType::kI32, v1::DTYPE_I32) && Same(DType::kI64, v1::DTYPE_I64));
static_assert(Same(DType::kU8, v1::DTYPE_U8) && Same(DType::kU16, v1::DTYPE_U16));
static_assert(Same(DType::kU32, v1::DTYPE_U32) && Same(DType::kU64, v1::DTYPE_U64));
static_assert(Same(Layout::kRowMajor, v1::LAYOUT_ROW_MAJOR));
static_assert(Same(Layout::kColumnMajor, v1::LAYOUT_COLUMN_MAJOR));

absl::StatusOr<TensorDesc> ReadDesc(absl::string_view field, const v1::Tensor& tensor) {
  TensorDesc desc;
  LOSSD_ASSIGN_OR_RETURN(desc.dtype, ReadEnum<DType>(FieldName(field, "dtype"), tensor.dtype(),
                                                     {v1::DType_IsValid, v1::DType_descriptor}));
  if (tensor.has_layout()) {
    LOSSD_ASSIGN_OR_RETURN(desc.layout,
                           ReadEnum<Layout>(FieldName(field, "layout"), tensor.layout(),
                                            {v1::Layout_IsValid, v1::Layout_descriptor}));
  }
  if (tensor.shape_size() > kMaxRank) {
    return absl::InvalidArgumentError(absl::StrCat(field, ".shape has rank ", tensor.shape_size(),
                                                   "; wanted at most ", kMaxRank));
  }
  desc.shape.assign(tensor.shape().begin(), tensor.shape().end());
  return desc;
}

// The bytes that a tensor of this description has.
absl::StatusOr<int64_t> ReadByteCount(absl::string_view field, const TensorDesc& desc) {
  const auto negative =
      std::find_if(desc.shape.begin(), desc.shape.end(), [](int64_t extent) { return extent < 0; });
  if (negative != desc.shape.end()) {
    return absl::InvalidArgumentError(absl::StrCat(field, ".shape is ", ShapeString(desc.shape),
                                                   "; wanted extents of at least 0"));
  }
  const std::optional<int64_t> bytes = ByteCount(desc);
  if (!bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ".shape is ", ShapeString(desc.shape),
                     "; wanted extents whose product in bytes fits into 63 bits"));
  }
  return *bytes;
}

}  // namespace

absl::StatusOr<WireTensor> ReadTensor(absl::string_view field, const v1::Tensor& tensor,
                                      const LargeFields& large, int slot, Carries carries) {
  WireTensor read;
  LOSSD_ASSIGN_OR_RETURN(read.desc, ReadDesc(field, tensor));
  LOSSD_ASSIGN_OR_RETURN(const int64_t wanted, ReadByteCount(field, read.desc));
  read.data = large.Bytes(slot, tensor.data());
  if (carries == Carries::kNothing && read.data.size() > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ".data has ", read.data.size(),
                     " bytes; wanted none in a stream's header, where they follow"));
  }
  if (carries == Carries::kBytes && read.data.size() != wanted) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".data has ", read.data.size(), " bytes; wanted ", wanted, " for ",
        std::string(Name(read.desc.dtype)), " of shape ", ShapeString(read.desc.shape)));
  }
  return read;
}

void WriteTensor(int number, OutgoingTensor tensor, Writer& writer) {
  Writer fields;
  fields.Number(v1::Tensor::kDtypeFieldNumber, static_cast<int>(tensor.dtype));
  fields.Packed(v1::Tensor::kShapeFieldNumber, tensor.shape);
  fields.SetNumber(v1::Tensor::kLayoutFieldNumber, static_cast<int>(tensor.layout));
  writer.Message(number, fields, kTensorDataField, std::move(tensor.data));
}

}  // namespace lossd::wire
