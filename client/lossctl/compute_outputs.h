#ifndef LOSSD_LOSSCTL_COMPUTE_OUTPUTS_H_
#define LOSSD_LOSSCTL_COMPUTE_OUTPUTS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/lossctl/compute_flags.h"
#include "client/lossctl/compute_inputs.h"
#include "client/lossctl/report.h"
#include "lossd/loss_spec.h"

namespace lossd::lossctl {

// The files a call is to write: memory for them before the call, the files after it.
class ComputeOutputs {
 public:
  // Finds shapes, sees that the files can be written, takes memory. Errors name flag and file.
  static absl::StatusOr<ComputeOutputs> Make(const ComputeFlags& flags, const LossSpec& spec,
                                             const ComputeInputs& inputs);

  // Where the call puts its outputs; empty where no file is wanted. Valid as long as this lives.
  const LossOutputs& into() const { return into_; }

  // Calls `next` with the path of each file before it is written.
  absl::Status Write(const std::function<void(const std::string& path)>& next) const;

  // ("wrote", "g.npy  f32 [2,3]") for each file.
  std::vector<Row> Rows() const;

 private:
  struct File {
    const char* flag;
    std::string path;
    TensorDesc desc;
    std::unique_ptr<std::byte[]> memory;
    int64_t size;
  };

  ComputeOutputs() = default;
  absl::Status Add(const char* flag, const FlagText& path, const TensorDesc& desc,
                   MutableByteSpan* into);

  std::vector<File> files_;
  LossOutputs into_;
};

// The shape of the labels: that of the targets where they are labels, else that of the predictions
// without the class axis.
std::vector<int64_t> LabelShape(const ComputeInputs& inputs);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_COMPUTE_OUTPUTS_H_
