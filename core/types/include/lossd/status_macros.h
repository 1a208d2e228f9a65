#ifndef LOSSD_STATUS_MACROS_H_
#define LOSSD_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// To be dropped when the Abseil in use ships absl/status/status_macros.h.

// Returns from the enclosing function with the status unless it is OK.
#define LOSSD_RETURN_IF_ERROR(expression)                                         \
  do {                                                                            \
    if (absl::Status status_macro_value = (expression); !status_macro_value.ok()) \
      return status_macro_value;                                                  \
  } while (false)

#define LOSSD_MACRO_CONCAT_INNER(a, b) a##b
#define LOSSD_MACRO_CONCAT(a, b) LOSSD_MACRO_CONCAT_INNER(a, b)

// LOSSD_ASSIGN_OR_RETURN(const T value, FunctionReturningStatusOr());
#define LOSSD_ASSIGN_OR_RETURN(declaration, expression) \
  LOSSD_ASSIGN_OR_RETURN_IMPL(LOSSD_MACRO_CONCAT(status_or_, __LINE__), declaration, expression)
#define LOSSD_ASSIGN_OR_RETURN_IMPL(temporary, declaration, expression) \
  auto temporary = (expression);                                        \
  if (!temporary.ok()) return std::move(temporary).status();            \
  declaration = *std::move(temporary)

#endif  // LOSSD_STATUS_MACROS_H_
