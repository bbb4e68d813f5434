// Hashes that are the same on every machine and in every release, because plans depend on them.
#ifndef MUSTER_SERVER_PLACEMENT_HASH_H_
#define MUSTER_SERVER_PLACEMENT_HASH_H_

#include <cstdint>

namespace muster {

// Spreads the bits of `value` over all 64 (the finaliser of SplitMix64). A bijection.
constexpr uint64_t MixBits(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_HASH_H_
