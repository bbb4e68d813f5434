// Numbers that must not be mixed up, as distinct types.
#ifndef MUSTER_STORAGE_BASE_NUMBERS_H_
#define MUSTER_STORAGE_BASE_NUMBERS_H_

#include <compare>
#include <cstdint>
#include <utility>

namespace muster {

template <typename Tag, typename Rep>
struct Number {
  Rep value = 0;

  constexpr Number() = default;
  constexpr explicit Number(Rep rep) : value(rep) {}
  constexpr auto operator<=>(const Number&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const Number& number) {
    return H::combine(std::move(state), number.value);
  }
};

// One per mutation that changes something; 0 is before the first.
using Revision = Number<struct RevisionTag, uint64_t>;
// Marks one registration of a node; taken from the revision.
using Epoch = Number<struct EpochTag, uint64_t>;
// Marks one plan of an assembly; taken from the revision.
using Generation = Number<struct GenerationTag, uint64_t>;
// Position of a shard in its model version, from 0.
using ShardIndex = Number<struct ShardIndexTag, uint32_t>;

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_NUMBERS_H_
