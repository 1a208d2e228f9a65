#ifndef LOSSD_CORE_EXEC_OVERLAP_TILE_H_
#define LOSSD_CORE_EXEC_OVERLAP_TILE_H_

#include <cstdint>

#include "core/exec/box_job.h"

namespace lossd {

// Some places of a loss of Family::kGroups: consecutive positions of one outer index, or rows if
// the inner extent is 1. Arrays of numbers of each class lie as [classes][count].
class OverlapTile {
 public:
  // Up to this many, and at least one.
  static int64_t MostPlaces(int64_t classes);
  // What a tile takes of a Workspace.
  static int64_t Bytes(const LossPlan& plan);

  OverlapTile(const BoxJob& job, Workspace& work) : job_(job), work_(work) {}

  // Reads the places and finds their probabilities. Precondition: count <= MostPlaces.
  void Open(int64_t position, int64_t count);

  int64_t count() const { return count_; }
  // q, and 0 where the label is ignored.
  const double* weight() const { return weight_; }
  const double* p(int64_t k) const { return p_ + k * count_; }
  // 1 - p, without cancellation.
  const double* rest(int64_t k) const { return rest_ + k * count_; }
  const double* t(int64_t k) const { return t_ + k * count_; }

  // Where dl/dp goes, which Close turns into dl/dx and writes.
  double* slope(int64_t k) { return slope_ + k * count_; }
  void Close();

 private:
  void ReadTargets();
  void ReadWeights();
  void FindSoftmax();
  void FindLogistic();
  // Numbers of all classes of the places out of packed elements.
  void Read(const ScatteredBytes& source, DType dtype, double* out);
  void TurnSoftmax();

  const BoxJob& job_;
  Workspace& work_;
  int64_t position_ = 0;
  int64_t count_ = 0;
  double* weight_ = nullptr;
  double* p_ = nullptr;
  double* rest_ = nullptr;
  double* t_ = nullptr;
  double* slope_ = nullptr;
  double* peak_ = nullptr;  // three numbers of each place
  double* sum_ = nullptr;
  double* factor_ = nullptr;
};

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_OVERLAP_TILE_H_
