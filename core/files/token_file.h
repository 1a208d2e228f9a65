#ifndef LOSSD_CORE_FILES_TOKEN_FILE_H_
#define LOSSD_CORE_FILES_TOKEN_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/files/text_file.h"

namespace lossd {

// What is wrong with a bearer token; empty: nothing. A token is 1 to 4096 visible ASCII characters:
// it travels as metadata of a call, which servers take 8 KiB of.
absl::string_view FaultOfToken(absl::string_view token);

struct Token {
  std::string text;
  std::string name;                             // of its holder; empty: none
  absl::Time expires = absl::InfiniteFuture();  // valid before this

  friend bool operator==(const Token&, const Token&) = default;
};

// The bearer tokens of a file; there may be none. A line is a token and, behind blanks and in any
// order, what is known about it:
//
//   TOKEN name=trainer-a expires=2026-12-31T00:00:00Z
//
// A name is 1 to 64 letters, digits and - . _ : / @; several tokens may have the same. A time is
// UTC, in this form. Blank lines and lines that begin with # do not count. kInvalidArgument names
// the file, the line and what is wrong, and no token; also where two lines say different things of
// one token.
absl::StatusOr<std::vector<Token>> ReadTokens(const NamedFile& file);

}  // namespace lossd

#endif  // LOSSD_CORE_FILES_TOKEN_FILE_H_
