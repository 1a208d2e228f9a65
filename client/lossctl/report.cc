#include "client/lossctl/report.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/lossctl/units.h"

namespace lossd::lossctl {
namespace {

using Json = nlohmann::ordered_json;

Json JsonNumber(double value) {
  if (std::isfinite(value)) return value;
  if (std::isnan(value)) return "NaN";
  return value > 0 ? "Infinity" : "-Infinity";
}

std::vector<std::string> Names(const std::vector<DType>& dtypes) {
  std::vector<std::string> names;
  names.reserve(dtypes.size());
  for (const DType dtype : dtypes) names.emplace_back(Name(dtype));
  return names;
}

std::string Plain(const Json& value) {
  if (value.is_string()) return OneLine(value.get<std::string>());
  if (value.is_number_float()) return ShortestNumber(value.get<double>());
  if (!value.is_array()) return Text(value);
  return absl::StrJoin(
      value, " ", [](std::string* out, const Json& entry) { absl::StrAppend(out, Plain(entry)); });
}

std::vector<Row> RowsOf(const Json& fields) {
  std::vector<Row> rows;
  for (const auto& [name, value] : fields.items()) {
    if (!value.is_object()) {
      rows.emplace_back(name, Plain(value));
      continue;
    }
    for (const auto& [inner, number] : value.items()) {
      rows.emplace_back(absl::StrCat(name, ".", inner), Plain(number));
    }
  }
  return rows;
}

// What a loss says beside its value.
template <class M>
Json MetricsJson(const M& metrics) {
  Json json;
  for (const auto& row : SumsRows<M>::kSums) {
    json[std::string(row.name)] = JsonNumber(metrics.*row.member);
  }
  for (const auto& row : SumsRows<M>::kCounts) json[std::string(row.name)] = metrics.*row.member;
  for (const auto& row : SumsRows<M>::kExtremes) {
    json[std::string(row.name)] = JsonNumber(metrics.*row.member);
  }
  return json;
}

// What to do about a refusal.
std::string Hint(absl::StatusCode code, absl::string_view server) {
  switch (code) {
    case absl::StatusCode::kUnavailable:
      return absl::StrCat("does lossd run at ", server, "? Try: lossctl health --server=", server,
                          "; if it does, do the --tls flags fit it?");
    case absl::StatusCode::kDeadlineExceeded:
      return "allow more time, for example --timeout=10m";
    case absl::StatusCode::kInvalidArgument:
      return "fields are flags of the same name (class_axis is --class-axis), class_indices, "
             "class_probabilities and target_values are --targets; see lossctl compute --help";
    case absl::StatusCode::kResourceExhausted:
      return absl::StrCat("the limits of this server: lossctl info --server=", server,
                          "; large tensors need --transport=auto or stream");
    case absl::StatusCode::kUnimplemented:
      return absl::StrCat(
          "the server may be of another version than this lossctl: compare lossctl "
          "--version with lossctl info --server=",
          server);
    case absl::StatusCode::kUnauthenticated:
      return "a token is brought with --token-file; ask who runs this server for one";
    case absl::StatusCode::kPermissionDenied:
      return "ask who runs this server for access";
    default:
      return "a fault of the server or the connection; the server's log says more";
  }
}

}  // namespace

std::string Table(const std::vector<Row>& rows) {
  size_t width = 0;
  for (const Row& row : rows) width = std::max(width, row.first.size());
  std::string table;
  for (const auto& [name, value] : rows) {
    absl::StrAppendFormat(&table, "%-*s  %s\n", static_cast<int>(width), name, value);
  }
  return table;
}

std::vector<Row> Rows(const LossResult& result) { return RowsOf(ToJson(result)); }
std::vector<Row> Rows(const ServerInfo& info) { return RowsOf(ToJson(info)); }

Json ToJson(const LossResult& result) {
  Json json = {
      {"loss", JsonNumber(result.loss)},
      {"loss_sum", JsonNumber(result.loss_sum)},
      {"weight_sum", JsonNumber(result.weight_sum)},
      {"denominator", JsonNumber(result.denominator)},
      {"position_count", result.position_count},
      {"valid_count", result.valid_count},
      {"ignored_count", result.ignored_count},
      {"clamped_count", result.clamped_count},
      {"nonfinite_count", result.nonfinite_count},
  };
  if (result.correct_count) json["correct_count"] = *result.correct_count;
  if (result.z_loss_sum != 0) json["z_loss_sum"] = JsonNumber(result.z_loss_sum);
  if (result.infeasible_count != 0) json["infeasible_count"] = result.infeasible_count;
  if (result.policy) json["policy"] = MetricsJson(*result.policy);
  if (result.preference) json["preference"] = MetricsJson(*result.preference);
  return json;
}

Json ToJson(const ServerInfo& info) {
  return {
      {"version", info.version},
      {"numerics_version", info.numerics_version},
      {"simd_target", info.simd_target},
      {"threads", info.threads},
      {"losses", info.losses},
      {"prediction_dtypes", Names(info.prediction_dtypes)},
      {"label_dtypes", Names(info.label_dtypes)},
      {"max_unary_bytes", info.max_unary_bytes},
      {"max_block_bytes", info.max_block_bytes},
      {"max_side_bytes", info.max_side_bytes},
      {"max_tensor_bytes", info.max_tensor_bytes},
      {"options", info.options},
      {"tensors", info.tensors},
      {"outputs", info.outputs},
      {"features", info.features},
  };
}

std::string Text(const Json& json) {
  // Strings come from a server: bytes that are not UTF-8 are replaced, not thrown about.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

int Print(absl::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0) return kDone;
  return BadUsage(absl::StrCat("standard output cannot be written: ", std::strerror(errno)));
}

int BadUsage(absl::string_view message) {
  absl::FPrintF(stderr, "lossctl: %s\n", OneLine(message));
  return kBadUsage;
}

std::string RefusalText(const absl::Status& status, absl::string_view server) {
  return absl::StrCat("lossctl: ", absl::StatusCodeToString(status.code()), ": ",
                      OneLine(status.message()), "\nhint: ", Hint(status.code(), server), "\n");
}

int Refused(const absl::Status& status, absl::string_view server) {
  absl::FPrintF(stderr, "%s", RefusalText(status, server));
  return kRefused;
}

}  // namespace lossd::lossctl
