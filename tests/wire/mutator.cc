#include "tests/wire/mutator.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <utility>
#include <vector>

namespace lossd::wire_test {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using oracle::Random;

struct Field {
  uint32_t tag;
  std::string value;  // without the length, where there is one
};

bool HasLength(uint32_t tag) {
  return WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
}

std::vector<Field> Fields(const std::string& bytes) {
  std::vector<Field> fields;
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                      static_cast<int>(bytes.size()));
  while (const uint32_t tag = in.ReadTag()) {
    uint32_t length = 0;
    if (HasLength(tag)) in.ReadVarint32(&length);
    const int begin = in.CurrentPosition();
    if (HasLength(tag)) {
      in.Skip(static_cast<int>(length));
    } else {
      WireFormatLite::SkipField(&in, tag);
    }
    fields.push_back({tag, bytes.substr(begin, in.CurrentPosition() - begin)});
  }
  return fields;
}

// Continuation bytes that add nothing to the value, up to `size` bytes in all.
std::string Varint(uint64_t value, size_t size = 0) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  while (bytes.size() < size) {
    bytes.back() = static_cast<char>(bytes.back() | 0x80);
    bytes.push_back('\0');
  }
  return bytes;
}

// Now and then with tags and lengths of up to `max_varint` bytes.
std::string Join(const std::vector<Field>& fields, Random& random, int max_varint) {
  const auto size = [&] { return random.OneIn(30) ? 1 + random.Below(max_varint) : 0; };
  std::string bytes;
  for (const Field& field : fields) {
    bytes += Varint(field.tag, size());
    if (HasLength(field.tag)) bytes += Varint(field.value.size(), size());
    bytes += field.value;
  }
  return bytes;
}

Field UnknownField(Random& random) {
  const auto number = static_cast<int>(random.Pick({60, 90, 100, 5000, 536870911}));
  switch (random.Below(5)) {
    case 0:
      return {WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_VARINT),
              Varint(random.Next())};
    case 1:
      return {WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_FIXED32), "abcd"};
    case 2:
      return {WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_FIXED64), "abcdefgh"};
    case 3:
      return {WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED),
              std::string(random.Below(200), 'x')};
    default: {
      const uint32_t end = WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_END_GROUP);
      return {WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_START_GROUP),
              std::string("\x08\x01", 2) + Varint(end)};
    }
  }
}

// A known number with the wire type of another field: unknown, to protobuf.
Field WrongType(const Field& field) {
  const int number = WireFormatLite::GetTagFieldNumber(field.tag);
  return {WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_FIXED32), "abcd"};
}

void Insert(std::vector<Field>& fields, Field field, Random& random) {
  const int64_t at = random.Below(static_cast<int64_t>(fields.size()) + 1);
  fields.insert(fields.begin() + at, std::move(field));
}

// One occurrence of a message as two that merge into it.
void Split(std::vector<Field>& fields, size_t i, Random& random, int max_varint) {
  const std::vector<Field> inside = Fields(fields[i].value);
  const int64_t cut = random.Below(static_cast<int64_t>(inside.size()) + 1);
  const std::vector<Field> first(inside.begin(), inside.begin() + cut);
  const std::vector<Field> second(inside.begin() + cut, inside.end());
  const uint32_t tag = fields[i].tag;
  fields[i].value = Join(first, random, max_varint);
  fields.insert(fields.begin() + static_cast<int64_t>(i) + 1,
                {tag, Join(second, random, max_varint)});
}

void Unpack(std::vector<Field>& fields, size_t i) {
  const Field packed = fields[i];
  std::vector<Field> single;
  const uint32_t tag = WireFormatLite::MakeTag(WireFormatLite::GetTagFieldNumber(packed.tag),
                                               WireFormatLite::WIRETYPE_VARINT);
  std::string value;
  for (const char byte : packed.value) {
    value.push_back(byte);
    if ((byte & 0x80) == 0) single.push_back({tag, std::exchange(value, {})});
  }
  fields.erase(fields.begin() + static_cast<int64_t>(i));
  fields.insert(fields.begin() + static_cast<int64_t>(i), single.begin(), single.end());
}

void Shuffle(std::vector<Field>& fields, Random& random) {
  for (size_t i = fields.size(); i > 1; --i) {
    std::swap(fields[i - 1], fields[random.Below(static_cast<int64_t>(i))]);
  }
}

const FieldDescriptor* KnownField(const Descriptor& type, uint32_t tag) {
  return type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
}

}  // namespace

std::string Unusual(const std::string& bytes, const Descriptor& type, Random& random,
                    int max_varint, bool unknown_fields) {
  std::vector<Field> fields = Fields(bytes);
  for (size_t i = fields.size(); i-- > 0;) {
    const FieldDescriptor* known = KnownField(type, fields[i].tag);
    if (known == nullptr || !HasLength(fields[i].tag)) continue;
    if (known->type() == FieldDescriptor::TYPE_MESSAGE) {
      if (random.OneIn(2)) {
        fields[i].value =
            Unusual(fields[i].value, *known->message_type(), random, max_varint, unknown_fields);
      }
      if (random.OneIn(6)) Split(fields, i, random, max_varint);
    } else if (known->is_packable() && random.OneIn(3)) {
      Unpack(fields, i);
    }
  }
  if (random.OneIn(3)) Shuffle(fields, random);
  if (!fields.empty()) {
    const auto any = [&] { return fields[random.Below(static_cast<int64_t>(fields.size()))]; };
    if (random.OneIn(5)) Insert(fields, any(), random);
    if (unknown_fields && random.OneIn(8)) Insert(fields, WrongType(any()), random);
  }
  if (unknown_fields && random.OneIn(4)) Insert(fields, UnknownField(random), random);
  return Join(fields, random, max_varint);
}

WithUnknown AddUnknown(const std::string& bytes, const Descriptor& type, Random& random) {
  std::vector<Field> fields = Fields(bytes);
  std::vector<size_t> messages;
  for (size_t i = 0; i < fields.size(); ++i) {
    const FieldDescriptor* const known = KnownField(type, fields[i].tag);
    if (known->type() == FieldDescriptor::TYPE_MESSAGE) messages.push_back(i);
  }
  WithUnknown added;
  if (messages.empty() || random.OneIn(3)) {
    const Field field = UnknownField(random);
    added = {"", std::string(type.full_name()), WireFormatLite::GetTagFieldNumber(field.tag)};
    Insert(fields, field, random);
  } else {
    Field& field = fields[messages[random.Below(static_cast<int64_t>(messages.size()))]];
    added = AddUnknown(field.value, *KnownField(type, field.tag)->message_type(), random);
    field.value = added.bytes;
  }
  added.bytes = Join(fields, random, 1);
  return added;
}

std::string WithoutSome(const std::string& bytes, const Descriptor& type, Random& random) {
  std::vector<Field> kept;
  for (Field& field : Fields(bytes)) {
    if (random.OneIn(3)) continue;
    const FieldDescriptor* known = KnownField(type, field.tag);
    if (known != nullptr && known->type() == FieldDescriptor::TYPE_MESSAGE && random.OneIn(2)) {
      field.value = WithoutSome(field.value, *known->message_type(), random);
    }
    kept.push_back(std::move(field));
  }
  return Join(kept, random, 1);
}

}  // namespace lossd::wire_test
