#ifndef LOSSD_TESTS_WIRE_MUTATOR_H_
#define LOSSD_TESTS_WIRE_MUTATOR_H_

#include <google/protobuf/descriptor.h>

#include <string>

#include "tests/support/random.h"

namespace lossd::wire_test {

// The same fields in unusual form: reordered, repeated, submessages split in two or sent twice,
// packed fields unpacked, unknown fields and groups put between, tags and lengths longer than they
// need be. Without `unknown_fields` it has only fields that the type has. Still valid protobuf (of
// perhaps another meaning: a repeated `shape` grows), unless `max_varint` is more than the five
// bytes that protobuf allows for tags and lengths. Precondition of both: `bytes` is a valid message
// of that type.
std::string Unusual(const std::string& bytes, const google::protobuf::Descriptor& type,
                    oracle::Random& random, int max_varint = 5, bool unknown_fields = true);

// The message with one unknown field somewhere in it, and where: the name of the message that has
// it, and its number.
struct WithUnknown {
  std::string bytes;
  std::string message;
  int number;
};
WithUnknown AddUnknown(const std::string& bytes, const google::protobuf::Descriptor& type,
                       oracle::Random& random);

// The message with some of its fields left out, on all levels.
std::string WithoutSome(const std::string& bytes, const google::protobuf::Descriptor& type,
                        oracle::Random& random);

}  // namespace lossd::wire_test

#endif  // LOSSD_TESTS_WIRE_MUTATOR_H_
