// Files of tokens, and what callers bring: who may call is who a plain reading of the file names.
//   input: one byte, the length of what is brought; that; the file

#include <grpcpp/server_context.h>
#include <grpcpp/test/server_context_test_spouse.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/front/authenticator.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/memory_file.h"

namespace lossd::fuzz {
namespace {

constexpr char kWhite[] = " \t\v\f\r";

// The tokens of a file, read the plain way; false where a line is no token.
bool ReadPlainly(const std::string& text, std::vector<std::string>& tokens) {
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    line.erase(0, std::min(line.find_first_not_of(kWhite), line.size()));
    line.erase(line.find_last_not_of(kWhite) + 1);
    if (line.empty() || line[0] == '#') continue;
    if (line.size() > 4096) return false;
    for (const char c : line) {
      if (c < 0x21 || c > 0x7e) return false;
    }
    tokens.push_back(line);
  }
  return !tokens.empty();
}

bool MayCall(const Authenticator& authenticator, const std::string& authorization) {
  grpc::ServerContext context;
  grpc::testing::ServerContextTestSpouse spouse(&context);
  spouse.AddClientMetadata("authorization", authorization);
  const absl::Status status = authenticator.Authenticate(context);
  Require(status.ok() || status.code() == absl::StatusCode::kUnauthenticated, status.ToString());
  return status.ok();
}

}  // namespace

void TestOne(Input input) {
  const std::string brought = input.Bytes(input.Byte());
  const std::string text = input.Rest();
  std::vector<std::string> tokens;
  const bool right = ReadPlainly(text, tokens);
  const MemoryFile file(text);
  const auto authenticator = Authenticator::FromFile(file.path());
  Require(authenticator.ok() == right, authenticator.status().ToString());
  if (!right) return;
  const bool named = std::find(tokens.begin(), tokens.end(), brought) != tokens.end();
  Require(MayCall(**authenticator, absl::StrCat("Bearer ", brought)) == named,
          "somebody else may call");
  Require(!MayCall(**authenticator, brought) || brought.size() > 7, "a scheme is wanted");
  Require(MayCall(**authenticator, absl::StrCat("bEARER ", tokens.front())), "a token of the file");
}

}  // namespace lossd::fuzz
