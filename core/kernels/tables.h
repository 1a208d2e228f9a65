#ifndef LOSSD_CORE_KERNELS_TABLES_H_
#define LOSSD_CORE_KERNELS_TABLES_H_

#include "core/kernels/kernels.h"

// Each file of bodies fills its part of the table for the target that Highway has chosen.

namespace lossd::kernels {

void AddSoftmaxRows(KernelSet& set);
void AddFusedRows(KernelSet& set);
void AddSoftmaxTiles(KernelSet& set);
void AddPointwise(KernelSet& set);
void AddPositions(KernelSet& set);
void AddElements(KernelSet& set);
void AddRowHeads(KernelSet& set);
void AddLabelHead(KernelSet& set);
void AddPolicyHead(KernelSet& set);
void AddLogits(KernelSet& set);
void AddSequences(KernelSet& set);

}  // namespace lossd::kernels

#endif  // LOSSD_CORE_KERNELS_TABLES_H_
