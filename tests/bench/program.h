// What benchmark programs do alike.
#ifndef MUSTER_TESTS_BENCH_PROGRAM_H_
#define MUSTER_TESTS_BENCH_PROGRAM_H_

#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/status/status.h"

namespace muster::bench {

// Ends the program with the message of an error.
inline void Require(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  std::exit(1);
}

// Of all threads of this process so far.
inline double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace muster::bench

#endif  // MUSTER_TESTS_BENCH_PROGRAM_H_
