#include "tests/wire/agreement.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "tests/wire/slicing.h"

namespace lossd::wire_test {

Agreement Agree(const Kind& kind, const std::string& bytes, oracle::Random& random) {
  const wire::Message message = RandomlySliced(bytes, random);
  const absl::StatusOr<Recoded> ours = kind.recode(message);
  const std::optional<std::string> theirs = kind.canonical(bytes);
  if (!theirs) {
    if (ours.status().code() == kind.invalid) return {Verdict::kInvalid, ""};
    return {Verdict::kInvalid, absl::StrCat("is no protobuf; decoded: ", ours.status().ToString())};
  }
  // The checks that follow parsing see the same message in its usual form.
  const absl::StatusOr<Recoded> expected = kind.recode(wire::Message(InOneSlice(*theirs)));
  if (ours.status() != expected.status()) {
    return {ours.ok() ? Verdict::kAccepted : Verdict::kRefused,
            absl::StrCat("decoded: ", ours.status().ToString(),
                         "; in its usual form: ", expected.status().ToString())};
  }
  if (!ours.ok()) return {Verdict::kRefused, ""};
  const bool unusual = ours->storage != nullptr && ours->storage != message.storage();
  return {unusual ? Verdict::kAcceptedUnusual : Verdict::kAccepted,
          ours->bytes == kind.with_defaults(bytes) ? "" : "encoded again it has other bytes"};
}

}  // namespace lossd::wire_test
