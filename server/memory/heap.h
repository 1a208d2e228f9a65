#ifndef LOSSD_SERVER_MEMORY_HEAP_H_
#define LOSSD_SERVER_MEMORY_HEAP_H_

#include <cstdint>

namespace lossd {

// What the general allocator frees stays with the process. gRPC receives a tensor in thousands of
// pieces, which would go back to the system with every block and be faulted in again with the next:
// a third of the time of a stream. Call it before the first thread starts.
void KeepFreedMemory();

// Gives it back all the same (see ReleasePolicy).
void ReleaseFreedMemory();

// Bytes that the allocator has given out and not got back.
int64_t HeapBytesInUse();

// Bytes of this process that are in memory; 0 where /proc does not tell.
int64_t ResidentBytes();

}  // namespace lossd

#endif  // LOSSD_SERVER_MEMORY_HEAP_H_
