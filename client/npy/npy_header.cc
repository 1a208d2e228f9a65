#include "client/npy/npy_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lossd/status_macros.h"

namespace lossd::npy {
namespace {

constexpr absl::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeaderText = 1
                                  << 16;  // what version 1 can express; NumPy itself stops at 10000
constexpr size_t kMaxRank = 64;           // NumPy's

template <class... Parts>
absl::Status Bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

struct Descr {
  absl::string_view text;
  DType dtype;
  bool big_endian;
};

constexpr Descr kDescrs[] = {
    {"<f2", DType::kF16, false},
    {"<f4", DType::kF32, false},
    {"<f8", DType::kF64, false},
    {"|i1", DType::kI8, false},
    {"<i2", DType::kI16, false},
    {"<i4", DType::kI32, false},
    {"<i8", DType::kI64, false},
    {"|u1", DType::kU8, false},
    {"<u2", DType::kU16, false},
    {"<u4", DType::kU32, false},
    {"<u8", DType::kU64, false},
    {"<V2", DType::kBF16, false},
    // Only read: the first line of a dtype is what is written.
    {"|V2", DType::kBF16, false},
    {"bfloat16", DType::kBF16, false},
    {"|b1", DType::kU8, false},
    {"<i1", DType::kI8, false},
    {"<u1", DType::kU8, false},
    {">i1", DType::kI8, false},
    {">u1", DType::kU8, false},
    {">f2", DType::kF16, true},
    {">f4", DType::kF32, true},
    {">f8", DType::kF64, true},
    {">i2", DType::kI16, true},
    {">i4", DType::kI32, true},
    {">i8", DType::kI64, true},
    {">u2", DType::kU16, true},
    {">u4", DType::kU32, true},
    {">u8", DType::kU64, true},
};

// The part of Python's literals that a header may hold: a dictionary of the three keys.
class DictReader {
 public:
  explicit DictReader(absl::string_view text) : text_(text) {}

  absl::StatusOr<NpyHeader> Read();

 private:
  absl::Status ReadValue(absl::string_view key);
  absl::StatusOr<absl::string_view> ReadString(absl::string_view what);
  absl::Status ReadDescr();
  absl::Status ReadFortranOrder();
  absl::Status ReadShape();
  absl::StatusOr<int64_t> ReadExtent();

  // Skips blanks, then takes `c` if it comes next.
  bool Take(char c);
  absl::Status Expect(char c, absl::string_view after);
  std::string Next() const;  // what comes next, for messages

  absl::string_view text_;
  std::optional<Descr> descr_;
  std::optional<bool> fortran_order_;
  std::optional<std::vector<int64_t>> shape_;
};

bool DictReader::Take(char c) {
  text_ = absl::StripLeadingAsciiWhitespace(text_);
  if (text_.empty() || text_.front() != c) return false;
  text_.remove_prefix(1);
  return true;
}

std::string DictReader::Next() const {
  const absl::string_view rest = absl::StripLeadingAsciiWhitespace(text_);
  if (rest.empty()) return "the end of the header";
  return absl::StrCat("'", absl::CHexEscape(rest.substr(0, 20)), "'");
}

absl::Status DictReader::Expect(char c, absl::string_view after) {
  if (Take(c)) return absl::OkStatus();
  return Bad("header: ", Next(), " after ", after, "; wanted '", absl::string_view(&c, 1), "'");
}

absl::StatusOr<NpyHeader> DictReader::Read() {
  if (!Take('{')) return Bad("header begins with ", Next(), "; wanted a dictionary");
  while (!Take('}')) {
    LOSSD_ASSIGN_OR_RETURN(const absl::string_view key, ReadString("a key"));
    LOSSD_RETURN_IF_ERROR(Expect(':', "a key"));
    LOSSD_RETURN_IF_ERROR(ReadValue(key));
    if (Take(',')) continue;
    LOSSD_RETURN_IF_ERROR(Expect('}', "a value"));
    break;
  }
  if (!absl::StripAsciiWhitespace(text_).empty()) {
    return Bad("header: ", Next(), " after the dictionary; wanted nothing more");
  }
  if (!descr_) return Bad("header has no 'descr'");
  if (!fortran_order_) return Bad("header has no 'fortran_order'");
  if (!shape_) return Bad("header has no 'shape'");
  NpyHeader header;
  header.desc.dtype = descr_->dtype;
  header.desc.shape = *std::move(shape_);
  header.desc.layout = *fortran_order_ ? Layout::kColumnMajor : Layout::kRowMajor;
  header.big_endian = descr_->big_endian;
  return header;
}

absl::Status DictReader::ReadValue(absl::string_view key) {
  const auto twice = [&] { return Bad("header has '", key, "' twice"); };
  if (key == "descr") return descr_ ? twice() : ReadDescr();
  if (key == "fortran_order") return fortran_order_ ? twice() : ReadFortranOrder();
  if (key == "shape") return shape_ ? twice() : ReadShape();
  return Bad("header has the key '", absl::CHexEscape(key.substr(0, 40)),
             "'; wanted descr, fortran_order and shape");
}

absl::StatusOr<absl::string_view> DictReader::ReadString(absl::string_view what) {
  text_ = absl::StripLeadingAsciiWhitespace(text_);
  const char quote = text_.empty() ? '\0' : text_.front();
  if (quote != '\'' && quote != '"') {
    return Bad("header: ", Next(), " where ", what, " in quotes was wanted");
  }
  const size_t end = text_.find(quote, 1);
  if (end == absl::string_view::npos) return Bad("header: ", Next(), " has no closing quote");
  const absl::string_view value = text_.substr(1, end - 1);
  text_.remove_prefix(end + 1);
  return value;
}

absl::Status DictReader::ReadDescr() {
  if (Take('[')) return Bad("descr is a list: arrays of structures are not tensors");
  LOSSD_ASSIGN_OR_RETURN(const absl::string_view text, ReadString("the value of descr"));
  for (const Descr& descr : kDescrs) {
    if (descr.text != text) continue;
    descr_ = descr;
    return absl::OkStatus();
  }
  return Bad("descr is '", absl::CHexEscape(text.substr(0, 40)),
             "'; wanted one of f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 with < or > in front, b1 (bool) or "
             "V2 (bf16)");
}

absl::Status DictReader::ReadFortranOrder() {
  text_ = absl::StripLeadingAsciiWhitespace(text_);
  for (const bool value : {false, true}) {
    const absl::string_view name = value ? "True" : "False";
    if (text_.substr(0, name.size()) != name) continue;
    text_.remove_prefix(name.size());
    fortran_order_ = value;
    return absl::OkStatus();
  }
  return Bad("fortran_order is ", Next(), "; wanted True or False");
}

absl::Status DictReader::ReadShape() {
  if (!Take('(')) return Bad("shape is ", Next(), "; wanted a tuple");
  std::vector<int64_t> shape;
  bool comma = true;
  while (!Take(')')) {
    if (!comma) return Bad("shape: ", Next(), " after an extent; wanted ',' or ')'");
    if (shape.size() == kMaxRank) return Bad("shape has more than ", kMaxRank, " extents");
    LOSSD_ASSIGN_OR_RETURN(const int64_t extent, ReadExtent());
    shape.push_back(extent);
    comma = Take(',');
  }
  // In Python (3) is the number 3.
  if (shape.size() == 1 && !comma) return Bad("shape is (", shape[0], "); wanted a tuple");
  shape_ = std::move(shape);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> DictReader::ReadExtent() {
  text_ = absl::StripLeadingAsciiWhitespace(text_);
  const auto digits_end = std::find_if_not(text_.begin(), text_.end(), absl::ascii_isdigit);
  const size_t digits = digits_end - text_.begin();
  if (digits == 0) return Bad("shape: ", Next(), "; wanted extents of 0 and more");
  int64_t value = 0;
  for (const char digit : text_.substr(0, digits)) {
    if (__builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, digit - '0', &value)) {
      return Bad("shape: ", Next(), " is more than ", std::numeric_limits<int64_t>::max());
    }
  }
  text_.remove_prefix(digits);
  if (!text_.empty() && text_.front() == 'L') text_.remove_prefix(1);  // Python 2 wrote (3L, 4L)
  return value;
}

int64_t LittleEndian(absl::string_view bytes) {
  int64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

}  // namespace

absl::StatusOr<NpyHeader> ParseHeader(ByteSpan file) {
  const absl::string_view bytes(reinterpret_cast<const char*>(file.data()), file.size());
  if (bytes.empty()) return Bad("is empty; wanted a .npy file");
  if (bytes.substr(0, 4) == "PK\x03\x04") {
    return Bad("is a .npz archive (or another zip); unpack it and name one of its .npy files");
  }
  const absl::string_view start = bytes.substr(0, kMagic.size());
  if (start != kMagic.substr(0, start.size())) {
    return Bad("is not a .npy file: it begins with '", absl::CHexEscape(start), "'");
  }
  const size_t versioned = kMagic.size() + 2;
  if (bytes.size() < versioned)
    return Bad("ends inside its header, after ", bytes.size(), " bytes");
  const int major = static_cast<uint8_t>(bytes[kMagic.size()]);
  const int minor = static_cast<uint8_t>(bytes[kMagic.size() + 1]);
  if (major < 1 || major > 3 || minor != 0) {
    return Bad("is a .npy file of version ", major, ".", minor, "; wanted 1.0, 2.0 or 3.0");
  }
  const size_t length_size = major == 1 ? 2 : 4;
  const size_t begin = versioned + length_size;
  if (bytes.size() < begin) return Bad("ends inside its header, after ", bytes.size(), " bytes");
  const int64_t length = LittleEndian(bytes.substr(versioned, length_size));
  if (length > static_cast<int64_t>(kMaxHeaderText)) {
    return Bad("has a header of ", length, " bytes; wanted at most ", kMaxHeaderText);
  }
  if (length > static_cast<int64_t>(bytes.size() - begin)) {
    return Bad("ends inside its header: ", bytes.size(), " bytes; the header alone has ",
               begin + length);
  }
  LOSSD_ASSIGN_OR_RETURN(NpyHeader header, DictReader(bytes.substr(begin, length)).Read());
  header.size = static_cast<int64_t>(begin) + length;
  return header;
}

std::string FormatHeader(const TensorDesc& desc) {
  const auto* const descr = std::find_if(std::begin(kDescrs), std::end(kDescrs),
                                         [&](const Descr& d) { return d.dtype == desc.dtype; });
  std::string shape;
  for (const int64_t extent : desc.shape) {
    absl::StrAppend(&shape, shape.empty() ? "" : " ", extent, ",");
  }
  if (desc.shape.size() > 1) shape.pop_back();  // as Python prints tuples
  const bool fortran_order = desc.layout == Layout::kColumnMajor;
  std::string dict = absl::StrCat("{'descr': '", descr->text,
                                  "', 'fortran_order': ", fortran_order ? "True" : "False",
                                  ", 'shape': (", shape, "), }");
  const size_t fixed = kMagic.size() + 4;
  const size_t total = (fixed + dict.size() + 1 + 63) / 64 * 64;
  dict.resize(total - fixed - 1, ' ');
  dict.push_back('\n');
  const char prefix[] = {1, 0, static_cast<char>(dict.size() & 0xff),
                         static_cast<char>(dict.size() >> 8)};
  return absl::StrCat(kMagic, absl::string_view(prefix, sizeof(prefix)), dict);
}

}  // namespace lossd::npy
