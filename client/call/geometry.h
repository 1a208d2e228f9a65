#ifndef LOSSD_CLIENT_CALL_GEOMETRY_H_
#define LOSSD_CLIENT_CALL_GEOMETRY_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "lossd/loss_spec.h"

namespace lossd {

// The predictions as they lie in memory, [outer][classes][inner], and the bytes that a position
// stands for. Only what is needed to cut a tensor and to place answers: whether a request makes
// sense is for the server to say.
struct Geometry {
  int64_t outer = 0;
  int64_t classes = 1;  // >= 1
  int64_t inner = 0;
  int64_t prediction_size = 0;  // bytes of one element, likewise below
  int64_t gradient_size = 0;
  int64_t second_gradient_size = 0;
  int64_t probability_size = 0;  // of the targets that travel in blocks; 0 where they come whole
  int64_t second_size = 0;       // of second predictions
  bool of_elements = false;      // every element of the predictions is a position of its own
  bool in_one_box = false;       // all blocks are one
  std::optional<int64_t> grouped =
      {};  // set: so many sequences, or classes of groups, are positions

  int64_t positions() const { return outer * inner; }
  // Bytes of an element of a tensor, 0 where it does not travel in blocks; of an output.
  int64_t BlockSize(const TensorFacts& tensor) const;
  int64_t OutputSize(const OutputFacts& output) const;
  // Of all that travels in blocks.
  int64_t element_bytes() const { return prediction_size + probability_size + second_size; }
  // Elements of a whole output.
  int64_t CountOf(const OutputFacts& output) const {
    return grouped && output.per == Per::kPosition ? *grouped : positions() * RowsOf(output);
  }
  // Elements that an output has for each position; of what is grouped, at most.
  int64_t RowsOf(const OutputFacts& output) const {
    return output.per == Per::kElement || of_elements ? classes : 1;
  }

  int64_t predictions_bytes() const { return positions() * classes * prediction_size; }

  friend bool operator==(const Geometry&, const Geometry&) = default;
};

// nullopt for tensors of which no position can be told from another: a rank, extent, axis or count
// out of range. Otherwise all products of the members fit into int64_t.
std::optional<Geometry> GeometryOf(const LossSpec& spec, const LossInputs& inputs);

// The outputs that `into` has buffers for.
OutputSet OutputsFor(const LossOutputs& into);

// kInvalidArgument for memory of the wrong size: a view whose bytes are not those its description
// needs (where that is a number at all), a buffer that is not as large as its output.
absl::Status CheckMemory(const LossInputs& inputs, const std::optional<Geometry>& geometry,
                         const LossOutputs& into);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_GEOMETRY_H_
