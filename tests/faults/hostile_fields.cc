#include "tests/faults/hostile_fields.h"

#include <google/protobuf/unknown_field_set.h>

#include <cfloat>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd::hostile {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::UnknownFieldSet;

constexpr int kMany = 1 << 16;
constexpr int64_t kHuge = int64_t{1} << 38;

const Reflection& Of(const Message& message) { return *message.GetReflection(); }

// Integers of any width, by their 64 bits.
void SetInteger(Message& parent, const FieldDescriptor& field, int64_t value) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return Of(parent).SetInt32(&parent, &field, static_cast<int32_t>(value));
    case FieldDescriptor::CPPTYPE_UINT32:
      return Of(parent).SetUInt32(&parent, &field, static_cast<uint32_t>(value));
    case FieldDescriptor::CPPTYPE_UINT64:
      return Of(parent).SetUInt64(&parent, &field, static_cast<uint64_t>(value));
    case FieldDescriptor::CPPTYPE_INT64:
      return Of(parent).SetInt64(&parent, &field, value);
    default:
      break;
  }
}

bool IsInteger(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT64:
      return true;
    default:
      return false;
  }
}

// Many messages: `fill` gives each its fields.
Value Messages(const FieldDescriptor& field, int count, const char* name,
               const std::function<void(Message&, int64_t)>& fill) {
  return {absl::StrCat(count, " ", name), [&field, count, fill](Message& parent) {
            Of(parent).ClearField(&parent, &field);
            for (int i = 0; i < count; ++i) fill(*Of(parent).AddMessage(&parent, &field), i);
          }};
}

// The integers of message i become i times a step and 1 in turn: boxes that do not overlap.
void FillCounting(Message& message, int64_t i, const std::vector<int64_t>& steps) {
  const Descriptor& type = *message.GetDescriptor();
  for (int f = 0; f < type.field_count(); ++f) {
    if (type.field(f)->is_repeated() || !IsInteger(*type.field(f))) continue;
    const int64_t step = f % 2 == 0 ? steps[f / 2 % steps.size()] : 0;
    SetInteger(message, *type.field(f), f % 2 == 0 ? i * step : 1);
  }
}

std::vector<Value> RepeatedMessages(const FieldDescriptor& field) {
  const auto counting = [](std::vector<int64_t> steps) {
    return [steps](Message& message, int64_t i) { FillCounting(message, i, steps); };
  };
  const auto nothing = [](Message&, int64_t) {};
  return {Messages(field, 1, "empty", nothing),
          Messages(field, kMany, "empty", nothing),
          Messages(field, 20 * kMany, "empty", nothing),
          Messages(field, kMany, "counting", counting({1})),
          Messages(field, kMany, "scattered", counting({kHuge / kMany, 0})),
          Messages(field, kMany, "diagonal", counting({kHuge / kMany, 1})),
          Messages(field, kMany + 1, "counting", counting({1, 0}))};
}

std::vector<Value> RepeatedIntegers(const FieldDescriptor& field) {
  const std::pair<const char*, std::vector<int64_t>> lists[] = {
      {"none", {}},
      {"[0]", {0}},
      {"[-1]", {-1}},
      {"[2^38, 1]", {kHuge, 1}},
      {"[1, 1, 2^38]", {1, 1, kHuge}},
      {"[2^19, 1, 2^19]", {1 << 19, 1, 1 << 19}},
      {"[1, 2^31 - 1]", {1, INT32_MAX}},
      {"[2^20, 2^18]", {1 << 20, 1 << 18}},
      {"[0, 2^31 - 1]", {0, INT32_MAX}},
      {"[2^31 - 1] x 3", {INT32_MAX, INT32_MAX, INT32_MAX}},
      {"[2^62, 2]", {int64_t{1} << 62, 2}},
      {"eight of 2", std::vector<int64_t>(8, 2)},
      {"eight of 128", std::vector<int64_t>(8, 128)},
      {"nine", std::vector<int64_t>(9, 1)},
      {"many of 1", std::vector<int64_t>(kMany - 256, 1)},
      {"many of the least", std::vector<int64_t>(6000, INT64_MIN)},
      {"far too many", std::vector<int64_t>(kMany * 16, 7)},
  };
  std::vector<Value> values;
  for (const auto& [name, list] : lists) {
    values.push_back({name, [&field, list = list](Message& parent) {
                        Of(parent).ClearField(&parent, &field);
                        for (const int64_t value : list) {
                          Of(parent).AddInt64(&parent, &field, value);
                        }
                      }});
  }
  return values;
}

std::vector<Value> Integers(const FieldDescriptor& field) {
  std::vector<Value> values;
  for (const int64_t value : {int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{INT32_MAX}, kHuge,
                              int64_t{1} << 59, INT64_MAX, INT64_MIN}) {
    values.push_back({absl::StrCat(value),
                      [&field, value](Message& parent) { SetInteger(parent, field, value); }});
  }
  return values;
}

std::vector<Value> Reals(const FieldDescriptor& field) {
  std::vector<Value> values;
  for (const double value :
       {-1.0, 0.0, 0.5, DBL_MAX, std::numeric_limits<double>::denorm_min(),
        std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    values.push_back({absl::StrCat(value), [&field, value](Message& parent) {
                        Of(parent).SetDouble(&parent, &field, value);
                      }});
  }
  return values;
}

std::vector<Value> Enums(const FieldDescriptor& field) {
  std::vector<Value> values;
  const auto add = [&](int number) {
    values.push_back({absl::StrCat(number), [&field, number](Message& parent) {
                        Of(parent).SetEnumValue(&parent, &field, number);
                      }});
  };
  for (int i = 0; i < field.enum_type()->value_count(); ++i) {
    add(field.enum_type()->value(i)->number());
  }
  for (const int number : {-1, field.enum_type()->value_count(), INT32_MAX}) add(number);
  return values;
}

std::vector<Value> Strings(const FieldDescriptor& field) {
  std::vector<Value> values;
  for (const size_t size : {0, 1, 4096, 1 << 20}) {
    values.push_back({absl::StrCat(size, " bytes"), [&field, size](Message& parent) {
                        Of(parent).SetString(&parent, &field, std::string(size, '\x01'));
                      }});
  }
  return values;
}

// Also as often as protobuf merges it.
std::vector<Value> SingleMessages(const FieldDescriptor& field) {
  return {
      {"absent", [&field](Message& parent) { Of(parent).ClearField(&parent, &field); }},
      {"empty", [&field](Message& parent) { Of(parent).MutableMessage(&parent, &field)->Clear(); }},
      {"again and again", [&field](Message& parent) {
         UnknownFieldSet* const more = Of(parent).MutableUnknownFields(&parent);
         for (int i = 0; i < kMany / 4; ++i) more->AddLengthDelimited(field.number(), "");
       }}};
}

void AddPaths(const Descriptor& type, const Path& before, std::vector<Path>& paths) {
  for (int f = 0; f < type.field_count(); ++f) {
    Path path = before;
    path.push_back(type.field(f));
    paths.push_back(path);
    if (type.field(f)->message_type() != nullptr) {
      AddPaths(*type.field(f)->message_type(), path, paths);
    }
  }
}

}  // namespace

std::string NameOf(const Path& path) {
  std::string name;
  for (const FieldDescriptor* field : path) {
    absl::StrAppend(&name, name.empty() ? "" : ".", std::string(field->name()));
  }
  return name;
}

std::vector<Path> AllPaths(const Descriptor& type) {
  std::vector<Path> paths;
  AddPaths(type, {}, paths);
  return paths;
}

std::vector<Value> RepeatedReals(const FieldDescriptor& field) {
  std::vector<Value> values;
  for (const int64_t count :
       {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{kMany}, int64_t{16 * kMany}}) {
    for (const double value : {0.5, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
      values.push_back(
          {absl::StrCat(count, " of ", value), [&field, count, value](Message& parent) {
             Of(parent).ClearField(&parent, &field);
             for (int64_t i = 0; i < count; ++i) {
               Of(parent).AddDouble(&parent, &field, value);
             }
           }});
    }
  }
  return values;
}

// A kind of field that the contract does not have yet has no values: the test says so.
std::vector<Value> ValuesFor(const FieldDescriptor& field) {
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    return field.is_repeated() ? RepeatedMessages(field) : SingleMessages(field);
  }
  if (field.is_repeated()) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_INT64) return RepeatedIntegers(field);
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) return RepeatedReals(field);
    return {};
  }
  if (IsInteger(field)) return Integers(field);
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Reals(field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return Enums(field);
    case FieldDescriptor::CPPTYPE_STRING:
      return Strings(field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return {{"true", [&field](Message& parent) { Of(parent).SetBool(&parent, &field, true); }},
              {"false", [&field](Message& parent) { Of(parent).SetBool(&parent, &field, false); }}};
    default:
      return {};
  }
}

std::vector<Value> UnknownFieldValues() {
  constexpr int kUnknown = 1000;
  constexpr int kDepth = 90;  // protobuf refuses 100
  const auto unknown = [](Message& parent) { return Of(parent).MutableUnknownFields(&parent); };
  return {{"unknown numbers",
           [=](Message& parent) {
             for (int i = 0; i < kMany / 4; ++i) unknown(parent)->AddVarint(kUnknown, 1);
           }},
          {"unknown groups",
           [=](Message& parent) {
             for (int i = 0; i < kMany / 8; ++i) unknown(parent)->AddGroup(kUnknown);
           }},
          {"unknown groups, deep", [=](Message& parent) {
             for (int i = 0; i < 100; ++i) {
               UnknownFieldSet* inside = unknown(parent);
               for (int depth = 0; depth < kDepth; ++depth) inside = inside->AddGroup(kUnknown);
             }
           }}};
}

Message& ParentOf(Message& root, const Path& path) {
  Message* at = &root;
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    const FieldDescriptor* const field = path[i];
    if (!field->is_repeated()) {
      at = Of(*at).MutableMessage(at, field);
    } else if (Of(*at).FieldSize(*at, field) == 0) {
      at = Of(*at).AddMessage(at, field);
    } else {
      at = Of(*at).MutableRepeatedMessage(at, field, 0);
    }
  }
  return *at;
}

void ForEachOfType(Message& root, const Descriptor& type,
                   const std::function<void(Message&)>& visit) {
  if (root.GetDescriptor() == &type) visit(root);
  std::vector<const FieldDescriptor*> fields;
  Of(root).ListFields(root, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      ForEachOfType(*Of(root).MutableMessage(&root, field), type, visit);
      continue;
    }
    for (int i = 0; i < Of(root).FieldSize(root, field); ++i) {
      ForEachOfType(*Of(root).MutableRepeatedMessage(&root, field, i), type, visit);
    }
  }
}

}  // namespace lossd::hostile
