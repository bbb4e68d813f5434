// Counts the bytes that operator new has given out. Linking this into a binary replaces the global
// operators.
#ifndef MUSTER_TESTS_UNIT_CLIENT_FORMAT_ALLOCATION_COUNTER_H_
#define MUSTER_TESTS_UNIT_CLIENT_FORMAT_ALLOCATION_COUNTER_H_

#include <cstdint>

namespace muster {

// Bytes given out and not returned.
int64_t AllocatedBytes();

// The most bytes since the last call of ResetPeak.
int64_t PeakAllocatedBytes();
void ResetPeak();

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_CLIENT_FORMAT_ALLOCATION_COUNTER_H_
