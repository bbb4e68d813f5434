// Chance, as an argument: jitter, ids and ties.
#ifndef MUSTER_STORAGE_BASE_RANDOM_H_
#define MUSTER_STORAGE_BASE_RANDOM_H_

#include <cstdint>
#include <memory>
#include <string>

namespace muster {

// Thread-safe.
class Random {
 public:
  virtual ~Random() = default;

  // Uniform over all 64-bit values.
  virtual uint64_t Next64() = 0;

  // Uniform in [0, limit); `limit` must be at least 1.
  uint64_t Below(uint64_t limit) { return Next64() % limit; }

  // Uniform in [0, 1).
  double NextDouble() { return static_cast<double>(Next64() >> 11) * 0x1.0p-53; }

  // 32 lowercase hex digits.
  std::string NextId();
};

// The same seed gives the same numbers on every machine.
std::unique_ptr<Random> NewSeededRandom(uint64_t seed);

// Seeded by the operating system.
std::unique_ptr<Random> NewSystemRandom();

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_RANDOM_H_
