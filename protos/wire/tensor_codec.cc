#include "protos/wire/tensor_codec.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "lossd/status_macros.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/enums.h"
#include "protos/wire/region_codec.h"
#include "protos/wire/unknown_fields.h"

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

// A tensor's fields, however they were read.
struct Fields {
  int dtype;
  std::optional<int> layout;
  absl::Span<const int64_t> extents;
  ScatteredBytes data;
  std::optional<Region> region;
};

absl::Status ReadDesc(absl::string_view field, const Fields& tensor, TensorDesc& desc) {
  LOSSD_ASSIGN_OR_RETURN(desc.dtype, ReadEnum<DType>(FieldName(field, "dtype"), tensor.dtype,
                                                     {v1::DType_IsValid, v1::DType_descriptor}));
  if (tensor.layout) {
    LOSSD_ASSIGN_OR_RETURN(desc.layout,
                           ReadEnum<Layout>(FieldName(field, "layout"), *tensor.layout,
                                            {v1::Layout_IsValid, v1::Layout_descriptor}));
  }
  if (tensor.extents.size() > kMaxRank) {
    return absl::InvalidArgumentError(absl::StrCat(field, ".shape has rank ", tensor.extents.size(),
                                                   "; wanted at most ", kMaxRank));
  }
  desc.shape.assign(tensor.extents.begin(), tensor.extents.end());
  return absl::OkStatus();
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

const google::protobuf::FieldDescriptor* FieldOf(const google::protobuf::Message& message,
                                                 int number) {
  return message.GetDescriptor()->FindFieldByNumber(number);
}

ScatteredBytes BytesIn(const std::string& text) {
  return ScatteredBytes(ByteSpan(reinterpret_cast<const std::byte*>(text.data()), text.size()));
}

const v1::Tensor& ParsedTensor(const FieldSource& source, int number) {
  const google::protobuf::Message& parsed = source.parsed;
  return static_cast<const v1::Tensor&>(
      parsed.GetReflection()->GetMessage(parsed, FieldOf(parsed, number)));
}

Fields FieldsOf(const v1::Tensor& tensor) {
  Fields fields = {tensor.dtype(), std::nullopt, tensor.shape(), BytesIn(tensor.data()), {}};
  if (tensor.has_layout()) fields.layout = tensor.layout();
  return fields;
}

Fields FieldsOf(const Slot& slot) {
  return {slot.tensor.dtype, slot.tensor.layout, slot.tensor.extents(), slot.bytes,
          slot.tensor.region};
}

absl::Status CheckRegion(absl::string_view field, const Fields& tensor, Carries carries) {
  if (carries != Carries::kBytesOrRegion) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".region is set; wanted none, for this tensor travels in a message of the call"));
  }
  if (tensor.data.size() > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " has both data and a region; wanted one of them"));
  }
  return CheckOffset(absl::StrCat(field, ".region"), *tensor.region);
}

// Precondition: no unknown field, or they do not matter.
absl::Status ReadFields(absl::string_view field, const Fields& tensor, Carries carries,
                        WireTensor& into) {
  LOSSD_RETURN_IF_ERROR(ReadDesc(field, tensor, into.desc));
  LOSSD_ASSIGN_OR_RETURN(const int64_t wanted, ReadByteCount(field, into.desc));
  into.data = tensor.data;
  into.region = tensor.region;
  if (into.region) return CheckRegion(field, tensor, carries);
  const int64_t got = into.data.size();
  if (carries == Carries::kNothing && got > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".data has ", got, " bytes; wanted none in a stream's header, where they follow"));
  }
  if (carries != Carries::kNothing && got != wanted) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".data has ", got, " bytes; wanted ", wanted, " for ",
        std::string(Name(into.desc.dtype)), " of shape ", ShapeString(into.desc.shape)));
  }
  return absl::OkStatus();
}

}  // namespace

bool HasTensor(const FieldSource& source, int number, int slot) {
  if (!source.large.all_parsed()) return source.large.slot(slot).number != 0;
  return source.parsed.GetReflection()->HasField(source.parsed, FieldOf(source.parsed, number));
}

ScatteredBytes ReadBytes(const FieldSource& source, int number, int slot) {
  if (!source.large.all_parsed()) return source.large.slot(slot).bytes;
  std::string scratch;  // not used: the field is a std::string
  return BytesIn(source.parsed.GetReflection()->GetStringReference(
      source.parsed, FieldOf(source.parsed, number), &scratch));
}

absl::Status ReadTensor(std::string_view name, const FieldSource& source, int number, int slot,
                        Carries carries, WireTensor& into) {
  const absl::string_view field(name.data(), name.size());
  if (!source.large.all_parsed()) {
    return ReadFields(field, FieldsOf(source.large.slot(slot)), carries, into);
  }
  const v1::Tensor& tensor = ParsedTensor(source, number);
  if (source.refuses_unknown) LOSSD_RETURN_IF_ERROR(CheckKnown(tensor));
  Fields fields = FieldsOf(tensor);
  if (tensor.has_region()) {
    LOSSD_ASSIGN_OR_RETURN(fields.region,
                           FromProto(absl::StrCat(field, ".region"), tensor.region()));
  }
  return ReadFields(field, fields, carries, into);
}

void WriteTensor(int number, OutgoingTensor tensor, Writer& writer) {
  Writer fields;
  fields.Number(v1::Tensor::kDtypeFieldNumber, static_cast<int>(tensor.dtype));
  fields.Packed(v1::Tensor::kShapeFieldNumber, tensor.shape);
  fields.SetNumber(v1::Tensor::kLayoutFieldNumber, static_cast<int>(tensor.layout));
  if (tensor.region) {
    fields.Message(v1::Tensor::kRegionFieldNumber, ToProto(*tensor.region));
    return writer.Message(number, std::move(fields));
  }
  writer.Message(number, fields, kTensorDataField, std::move(tensor.data));
}

}  // namespace lossd::wire
