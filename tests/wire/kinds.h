#ifndef LOSSD_TESTS_WIRE_KINDS_H_
#define LOSSD_TESTS_WIRE_KINDS_H_

#include <google/protobuf/descriptor.h>

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lossd/tensor.h"
#include "protos/wire/message.h"
#include "tests/support/random.h"

namespace lossd::wire_test {

// A decoded message as the tests look at it.
struct Recoded {
  std::string bytes;                   // encoded again
  std::vector<ScatteredBytes> fields;  // where its large fields lie
  std::shared_ptr<const void> storage;
};

// One kind of message, as bytes.
struct Kind {
  std::string name;
  const google::protobuf::Descriptor* type;
  absl::StatusCode invalid;  // the code for bytes that are no protobuf

  // A random message that is accepted, as the generated serializer writes it.
  std::function<std::string(oracle::Random&)> sample;

  // Generated parsing and writing; nullopt where it refuses the bytes. Unknown fields are dropped
  // from answers, and stay in requests, which are refused for them.
  std::function<std::optional<std::string>(const std::string&)> canonical;
  // Likewise with all defaults filled in.
  std::function<std::string(const std::string&)> with_defaults;

  // Our decoder and encoder.
  std::function<absl::StatusOr<Recoded>(const wire::Message&)> recode;
};

// For GoogleTest.
inline void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

const std::vector<Kind>& AllKinds();

}  // namespace lossd::wire_test

#endif  // LOSSD_TESTS_WIRE_KINDS_H_
