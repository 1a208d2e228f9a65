#ifndef LOSSD_SERVER_INFO_H_
#define LOSSD_SERVER_INFO_H_

#include <cstdint>
#include <string>
#include <vector>

#include "lossd/dtype.h"

namespace lossd {

// What a server is and accepts; field by field lossd.v1.GetServerInfoResponse.
struct ServerInfo {
  std::string version;       // of the lossd binary
  int numerics_version = 0;  // changes when any result may change by a bit
  std::string simd_target;
  int threads = 0;  // that compute
  std::vector<std::string> losses;
  std::vector<DType> prediction_dtypes;
  std::vector<DType> label_dtypes;
  int64_t max_unary_bytes = 0;             // largest ComputeRequest message
  int64_t max_block_bytes = 0;             // largest message on a stream
  int64_t max_side_bytes = 0;              // all side tensors of one stream together
  int64_t max_tensor_bytes = 0;            // predictions of one stream
  std::vector<std::string> options = {};   // of losses: "softmax.log_floor"
  std::vector<std::string> tensors = {};   // of a request
  std::vector<std::string> outputs = {};   // beside the loss and the counts
  std::vector<std::string> features = {};  // named in lossd.v1.GetServerInfoResponse

  friend bool operator==(const ServerInfo&, const ServerInfo&) = default;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_INFO_H_
