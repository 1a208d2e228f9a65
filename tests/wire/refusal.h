#ifndef LOSSD_TESTS_WIRE_REFUSAL_H_
#define LOSSD_TESTS_WIRE_REFUSAL_H_

#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lossd/v1/loss.pb.h"

// What the tables of refused requests have in common.

namespace lossd::wire_test {

// A request with these fields and, of the tensors that its loss needs, those that it has not.
v1::ComputeRequest FullRequest(const std::string& text);

// Expects that such a request is refused, by the plan of a stream's header likewise; or answered.
void ExpectRefused(const std::string& text, absl::StatusCode code, const std::string& words);
void ExpectAnswered(const std::string& text);

// The domain of a number. VALUE stands for a value in the spec, and is what a refusal prints.
struct Domain {
  const char* name;
  const char* spec;
  const char* field;
  const char* wanted;
  std::vector<const char*> outside;
  std::vector<const char*> inside;
};
void PrintTo(const Domain& domain, std::ostream* out);

// Expects that it ends where it should.
void ExpectDomain(const Domain& domain);

}  // namespace lossd::wire_test

#endif  // LOSSD_TESTS_WIRE_REFUSAL_H_
