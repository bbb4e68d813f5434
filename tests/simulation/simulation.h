// One run of the server's core from one seed.
#ifndef MUSTER_TESTS_SIMULATION_SIMULATION_H_
#define MUSTER_TESTS_SIMULATION_SIMULATION_H_

#include <cstdint>
#include <string>

namespace muster {

// Returns "" when every invariant held at every step; else the seed, the step, what is wrong, and
// the last steps. Thread-safe.
std::string RunSimulation(uint64_t seed);

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_SIMULATION_H_
