#ifndef LOSSD_TESTS_FAULTS_HOSTILE_FIELDS_H_
#define LOSSD_TESTS_FAULTS_HOSTILE_FIELDS_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <functional>
#include <string>
#include <vector>

// Hostile values for every field of a message, found by reflection: a field that is added to the
// contract has them at once.
namespace lossd::hostile {

// The way to a field, from the root: "header.request.spec.ignore_labels".
using Path = std::vector<const google::protobuf::FieldDescriptor*>;
std::string NameOf(const Path& path);

// All fields of a type, those of messages in it included.
std::vector<Path> AllPaths(const google::protobuf::Descriptor& type);

// One thing that may be done to a field.
struct Value {
  std::string name;
  std::function<void(google::protobuf::Message& parent)> set;
};
std::vector<Value> ValuesFor(const google::protobuf::FieldDescriptor& field);

// What may be done to any message beside its fields: unknown fields in numbers, and deep.
std::vector<Value> UnknownFieldValues();

// The message that holds the last field of the path; what is missing on the way is made. Of
// repeated messages: the first.
google::protobuf::Message& ParentOf(google::protobuf::Message& root, const Path& path);

// Calls visit for every message of that type that is there.
void ForEachOfType(google::protobuf::Message& root, const google::protobuf::Descriptor& type,
                   const std::function<void(google::protobuf::Message&)>& visit);

}  // namespace lossd::hostile

#endif  // LOSSD_TESTS_FAULTS_HOSTILE_FIELDS_H_
