#ifndef LOSSD_TESTS_CLIENT_ANY_CALL_H_
#define LOSSD_TESTS_CLIENT_ANY_CALL_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "client/transport/transport.h"

namespace lossd {

// A call of a method that the servers of these tests take like any other.
inline CallSetup AnyCall(const Transport& transport, int64_t answer_bytes = 64 << 20) {
  static const auto& method = *new std::string("/any/Method");
  return {method, transport.Now() + absl::Seconds(30), answer_bytes};
}

}  // namespace lossd

#endif  // LOSSD_TESTS_CLIENT_ANY_CALL_H_
