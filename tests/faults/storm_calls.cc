#include "tests/faults/storm_calls.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/server/harness.h"

namespace lossd {
namespace {

using oracle::Random;
using testing::Problem;

constexpr char kCompute[] = "/lossd.v1.LossService/Compute";
constexpr char kStream[] = "/lossd.v1.LossService/ComputeStream";

// What a header declares costs nothing before it comes, so it may declare anything.
constexpr int64_t kMostDeclaredBits = 40;

const Problem& AnyProblem(Random& random) {
  static const auto& problems =
      *new std::vector<Problem>{Problem(1, 1), Problem(4, 10), Problem(64, 100), Problem(40, 250)};
  return problems[random.Below(static_cast<int64_t>(problems.size()))];
}

std::string Garbage(Random& random, int64_t most) {
  std::string bytes(random.Below(most + 1), '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.Below(256));
  return bytes;
}

// Some bytes become others.
std::string Mutated(std::string bytes, Random& random) {
  for (int64_t i = 1 + random.Below(3); i > 0 && !bytes.empty(); --i) {
    bytes[random.Below(static_cast<int64_t>(bytes.size()))] = static_cast<char>(random.Below(256));
  }
  return bytes;
}

StormCall UnknownMethod(Random& random) {
  std::string path = random.Pick<const char*>(
      {"/lossd.v1.LossService/ComputeV2", "/lossd.v2.LossService/Compute", "/no.such.Service/At",
       "/lossd.v1.LossService/", "/", "//", "lossd.v1.LossService/Compute", "*"});
  if (random.OneIn(10)) path = absl::StrCat("/", std::string(1 + random.Below(4000), 'p'));
  return {path, random.OneIn(3) ? "" : http2::Message(Garbage(random, 300))};
}

// What a later version of the protocol may add: fields, numbers of enums, losses.
StormCall NewerContract(Random& random) {
  v1::ComputeRequest request = AnyProblem(random).Request();
  std::string more;
  switch (random.Below(3)) {
    case 0:
      request.mutable_spec()->set_reduction(static_cast<v1::Reduction>(40 + random.Below(1000)));
      break;
    case 1:
      request.mutable_predictions()->set_dtype(static_cast<v1::DType>(60));
      break;
    default:
      more = absl::StrCat("\xa2\x06\x0a", std::string(10, 'n'));  // field 100, ten bytes
  }
  return {kCompute, http2::Message(absl::StrCat(request.SerializeAsString(), more))};
}

std::string AnyService(Random& random) {
  return http2::Message(testing::HealthRequest(
      random.Pick<const char*>({"", "", "lossd.v1.LossService", "nobody", "\xff\xfe"})));
}
StormCall HealthCheck(Random& random) {
  return {"/grpc.health.v1.Health/Check", AnyService(random)};
}
StormCall HealthWatch(Random& random) {
  return {"/grpc.health.v1.Health/Watch", AnyService(random)};
}

StormCall Reflection(Random& random) {
  std::string body;
  for (int64_t i = 1 + random.Below(3); i > 0; --i) {
    body += http2::Message(random.Pick<const char*>(
        {"\x3a\x01*", "\x1a\x0blossd.v1.No", "\x22\x14lossd.v1.LossService", "no protobuf"}));
  }
  return {
      random.Pick<const char*>({"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"}),
      body};
}

StormCall Channelz(Random& random) {
  return {absl::StrCat("/grpc.channelz.v1.Channelz/",
                       random.Pick<const char*>({"GetServers", "GetTopChannels", "GetSocket"})),
          http2::Message("")};
}

StormCall ServerInfo(Random& /*random*/) {
  return {"/lossd.v1.LossService/GetServerInfo", http2::Message("")};
}

StormCall Unary(Random& random) {
  return {kCompute, http2::Message(AnyProblem(random).Request().SerializeAsString())};
}

StormCall WrongUnary(Random& random) {
  const std::string request = AnyProblem(random).Request().SerializeAsString();
  switch (random.Below(4)) {
    case 0:
      return {kCompute, http2::Message(Mutated(request, random))};
    case 1:
      return {kCompute, http2::Message(request.substr(0, request.size() / 2))};
    case 2:
      return {kCompute, http2::Message(request, /*compressed=*/1)};
    default:
      return {kCompute, absl::StrCat(http2::MessagePrefix(random.Pick<uint32_t>(
                                         {UINT32_MAX, 1 << 30, 1 << 20, 1 << 16})),
                                     request)};
  }
}

// The messages of a stream, its blocks in any order and of any size.
std::vector<std::string> StreamParts(const Problem& problem, Random& random) {
  std::vector<std::string> parts = {problem.Header().SerializeAsString(),
                                    problem.Weights().SerializeAsString(),
                                    problem.Labels().SerializeAsString()};
  const int64_t step = random.Pick<int64_t>({1, 7, 64});
  for (int64_t row = 0; row < problem.rows; row += step) {
    const int64_t count = std::min(step, problem.rows - row);
    parts.push_back(problem.Block(row, count).SerializeAsString());
    std::swap(parts[3 + random.Below(static_cast<int64_t>(parts.size()) - 3)], parts.back());
  }
  return parts;
}

StormCall StreamOf(const std::vector<std::string>& parts) {
  StormCall call{kStream, ""};
  for (const std::string& part : parts) call.body += http2::Message(part);
  return call;
}

StormCall Stream(Random& random) { return StreamOf(StreamParts(AnyProblem(random), random)); }

// Parts in disorder, twice, left out, cut or changed.
StormCall WrongStream(Random& random) {
  std::vector<std::string> parts = StreamParts(AnyProblem(random), random);
  const auto any = [&] { return random.Below(static_cast<int64_t>(parts.size())); };
  switch (random.Below(5)) {
    case 0:
      std::swap(parts[any()], parts[any()]);
      break;
    case 1:
      parts.insert(parts.begin() + any(), parts[any()]);
      break;
    case 2:
      parts.erase(parts.begin() + any());
      break;
    case 3:
      parts.resize(any());
      break;
    default: {
      std::string& part = parts[any()];
      part = Mutated(part, random);
    }
  }
  return StreamOf(parts);
}

// Headers that declare far more than ever comes.
StormCall HostileHeader(Random& random) {
  const int64_t rows = int64_t{1} << random.Below(kMostDeclaredBits + 1);
  v1::ComputeStreamRequest part;
  v1::ComputeRequest* const request = part.mutable_header()->mutable_request();
  request->mutable_spec()->mutable_softmax();
  const bool probabilities = random.OneIn(2);
  v1::Tensor* const targets =
      probabilities ? request->mutable_class_probabilities() : request->mutable_class_indices();
  targets->set_dtype(probabilities ? v1::DTYPE_F16 : v1::DTYPE_U8);
  targets->add_shape(rows);
  request->mutable_predictions()->set_dtype(v1::DTYPE_F32);
  request->mutable_predictions()->add_shape(rows);
  for (v1::Tensor* const tensor : {request->mutable_predictions(), targets}) {
    if (tensor != targets || probabilities) tensor->add_shape(random.Pick<int64_t>({1, 2, 1000}));
  }
  int64_t begin = 0;
  for (int64_t i = random.OneIn(2) ? 0 : random.Below(300); i > 0; --i) {
    v1::Box* const box = part.mutable_header()->add_boxes();
    box->set_outer_begin(begin += random.Below(5));
    box->set_outer_count(1 + random.Below(3));
    box->set_inner_count(1);
  }
  return StreamOf({part.SerializeAsString()});
}

std::vector<StormRow> Wanted(absl::Span<const StormRow> rows) {
  const char* const text = std::getenv("STORM_ROWS");
  const std::vector<std::string> names = absl::StrSplit(text == nullptr ? "" : text, ',');
  std::vector<StormRow> wanted;
  for (const StormRow& row : rows) {
    if (text == nullptr || absl::c_linear_search(names, row.name)) wanted.push_back(row);
  }
  return wanted;
}

}  // namespace

absl::Span<const StormRow> StormRows() {
  static constexpr StormRow kRows[] = {
      {"unknown methods", 8, UnknownMethod}, {"a newer contract", 3, NewerContract},
      {"Health/Check", 4, HealthCheck},      {"Health/Watch", 10, HealthWatch},
      {"reflection", 3, Reflection},         {"channelz", 2, Channelz},
      {"GetServerInfo", 3, ServerInfo},      {"Compute", 6, Unary},
      {"wrong Compute", 4, WrongUnary},      {"ComputeStream", 6, Stream},
      {"wrong streams", 6, WrongStream},     {"hostile headers", 3, HostileHeader},
  };
  static const auto& wanted = *new std::vector<StormRow>(Wanted(kRows));
  return wanted;
}

http2::Fields StormMetadata(Random& random, size_t body_bytes) {
  http2::Fields fields;
  if (random.OneIn(3)) {
    fields.emplace_back("grpc-timeout", random.Pick<const char*>(
                                            {"0n", "1m", "5m", "50m", "1S", "99999999H", "soon"}));
  }
  if (random.OneIn(2)) {
    const std::string right = absl::StrCat(body_bytes);
    fields.emplace_back(
        "loss-bytes",
        random.Pick<const char*>({right.c_str(), right.c_str(), right.c_str(), right.c_str(), "0",
                                  "1", "67108864", "-1", "many", "99999999999999999999"}));
  }
  if (random.OneIn(5))
    fields.emplace_back("x-request-id", absl::StrCat("storm-", random.Below(99)));
  // gRPC refuses the first and ends the connection for the second.
  if (random.OneIn(30)) fields.emplace_back("x-request-id", Garbage(random, 200));
  if (random.OneIn(150)) fields.emplace_back("x-bin", Garbage(random, 20));
  return fields;
}

}  // namespace lossd
