#include "tests/faults/http2.h"

#include "absl/strings/str_cat.h"

namespace lossd::http2 {
namespace {

// HPACK's integers with a prefix of `bits` bits.
std::string Integer(uint8_t first, int bits, size_t value) {
  const size_t most = (size_t{1} << bits) - 1;
  if (value < most) return {static_cast<char>(first | value)};
  std::string bytes = {static_cast<char>(first | most)};
  for (value -= most; value >= 128; value >>= 7) {
    bytes.push_back(static_cast<char>(value | 0x80));
  }
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

size_t TakeInteger(absl::string_view& bytes, int bits) {
  if (bytes.empty()) return 0;
  const size_t most = (size_t{1} << bits) - 1;
  size_t value = static_cast<uint8_t>(bytes[0]) & most;
  bytes.remove_prefix(1);
  if (value < most) return value;
  for (int shift = 0; !bytes.empty() && shift < 28; shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes[0]);
    bytes.remove_prefix(1);
    value += static_cast<size_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) break;
  }
  return value;
}

std::optional<std::string> TakeText(absl::string_view& bytes) {
  const bool huffman = !bytes.empty() && (bytes[0] & 0x80) != 0;
  const size_t size = TakeInteger(bytes, 7);
  const std::string text(bytes.substr(0, size));
  bytes.remove_prefix(text.size());
  return huffman ? std::nullopt : std::optional(text);
}

}  // namespace

std::string Number(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

uint32_t NumberAt(absl::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = at; i < at + 4 && i < bytes.size(); ++i) {
    value = value << 8 | static_cast<uint8_t>(bytes[i]);
  }
  return value;
}

std::string Bytes(uint8_t type, uint8_t flags, uint32_t stream, absl::string_view payload) {
  const std::string length = Number(static_cast<uint32_t>(payload.size())).substr(1);
  return absl::StrCat(length, std::string{static_cast<char>(type), static_cast<char>(flags)},
                      Number(stream), payload);
}

std::string Settings(const std::vector<std::pair<uint16_t, uint32_t>>& values) {
  std::string payload;
  for (const auto& [identifier, value] : values) {
    payload += Number(identifier).substr(2) + Number(value);
  }
  return Bytes(kSettings, kNone, 0, payload);
}

std::string Literals(const Fields& fields) {
  std::string block;
  for (const auto& [name, value] : fields) {
    absl::StrAppend(&block, std::string(1, '\x10'), Integer(0, 7, name.size()), name,
                    Integer(0, 7, value.size()), value);
  }
  return block;
}

Fields ReadLiterals(absl::string_view block) {
  Fields fields;
  while (!block.empty()) {
    const auto first = static_cast<uint8_t>(block[0]);
    if ((first & 0x80) != 0) {  // indexed
      TakeInteger(block, 7);
      continue;
    }
    if ((first & 0xe0) == 0x20) {  // size of the table
      TakeInteger(block, 5);
      continue;
    }
    const size_t index = TakeInteger(block, (first & 0x40) != 0 ? 6 : 4);
    std::optional<std::string> name = "";
    if (index == 0) name = TakeText(block);
    const std::optional<std::string> value = TakeText(block);
    if (name && !name->empty() && value) fields.emplace_back(*name, *value);
  }
  return fields;
}

Fields CallFields(const std::string& path) {
  return {{":method", "POST"},         {":scheme", "http"}, {":path", path},
          {":authority", "localhost"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
}

std::string MessagePrefix(uint32_t length, uint8_t compressed) {
  return std::string(1, static_cast<char>(compressed)) + Number(length);
}

std::string Message(absl::string_view bytes, uint8_t compressed) {
  return absl::StrCat(MessagePrefix(static_cast<uint32_t>(bytes.size()), compressed), bytes);
}

}  // namespace lossd::http2
