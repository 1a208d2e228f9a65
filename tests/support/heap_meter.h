#ifndef LOSSD_TESTS_SUPPORT_HEAP_METER_H_
#define LOSSD_TESTS_SUPPORT_HEAP_METER_H_

#include <cstdint>

// How much of the heap this process has handed out: every malloc and operator new, of all
// libraries. In a build with sanitizers their allocator tells; else the program's own malloc
// counts, which takes the C library's place.
namespace lossd::heap_meter {

int64_t LiveBytes();

// The most that there was since the last ResetPeak.
int64_t PeakBytes();
void ResetPeak();

// Ends the program loudly as soon as there is more than that. A limit that is never reached:
// INT64_MAX.
void EndAbove(int64_t bytes);

}  // namespace lossd::heap_meter

#endif  // LOSSD_TESTS_SUPPORT_HEAP_METER_H_
