// What a process has used so far, from /proc.
#ifndef MUSTER_TESTS_BENCH_PROCESS_USAGE_H_
#define MUSTER_TESTS_BENCH_PROCESS_USAGE_H_

#include <cstdint>
#include <string>

namespace muster::bench {

// Seconds of CPU of a process, or of its threads of one name; 0 for a process that is gone.
double CpuSeconds(int pid);
double ThreadCpuSeconds(int pid, const std::string& thread_name);

uint64_t ResidentBytes(int pid);

}  // namespace muster::bench

#endif  // MUSTER_TESTS_BENCH_PROCESS_USAGE_H_
