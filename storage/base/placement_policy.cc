#include "storage/base/placement_policy.h"

#include <algorithm>

namespace muster {
namespace {

constexpr PolicyTraits kPolicies[] = {
    {.policy = PlacementPolicy::kFull,
     .name = "FULL",
     .summary = "every node gets all",
     .holds_all = true},
    {.policy = PlacementPolicy::kBalanced,
     .name = "BALANCED",
     .summary = "split by bytes within the capacities",
     .has_replicas = true},
    {.policy = PlacementPolicy::kContiguous,
     .name = "CONTIGUOUS",
     .summary = "each gets a run of consecutive shards",
     .has_replicas = true},
    {.policy = PlacementPolicy::kDeclared,
     .name = "DECLARED",
     .summary = "each gets what it claims",
     .claims_decide = true,
     .has_replicas = true},
    {.policy = PlacementPolicy::kRanked,
     .name = "RANKED",
     .summary = "each gets the shards of the ranks that it claims",
     .claims_decide = true,
     .needs_rank = true},
};

}  // namespace

absl::Span<const PolicyTraits> PlacementPolicies() { return kPolicies; }

const PolicyTraits& TraitsOf(PlacementPolicy policy) {
  const auto* const found =
      std::find_if(std::begin(kPolicies), std::end(kPolicies),
                   [policy](const PolicyTraits& traits) { return traits.policy == policy; });
  // What is no policy, as a cast makes it, is what PolicyOf makes of an unknown number.
  return found == std::end(kPolicies) ? TraitsOf(PlacementPolicy::kBalanced) : *found;
}

PlacementPolicy PolicyOf(int number) {
  for (const PolicyTraits& traits : kPolicies) {
    if (static_cast<int>(traits.policy) == number) return traits.policy;
  }
  return PlacementPolicy::kBalanced;
}

ClaimKind ClaimKindOf(int number) {
  const bool known =
      number >= static_cast<int>(ClaimKind::kAny) && number <= static_cast<int>(ClaimKind::kRanks);
  return known ? static_cast<ClaimKind>(number) : ClaimKind::kAny;
}

ClaimKind MeaningOf(PlacementPolicy policy, ClaimKind claim) {
  const PolicyTraits& traits = TraitsOf(policy);
  if (traits.holds_all) return ClaimKind::kAll;
  return traits.claims_decide ? claim : ClaimKind::kAny;
}

bool Covers(ClaimKind meaning, absl::Span<const uint32_t> numbers, uint32_t shard,
            std::optional<uint32_t> rank) {
  switch (meaning) {
    case ClaimKind::kAny:
      return false;
    case ClaimKind::kAll:
      return true;
    case ClaimKind::kShards:
      return std::binary_search(numbers.begin(), numbers.end(), shard);
    case ClaimKind::kRanks:
      return rank.has_value() && std::binary_search(numbers.begin(), numbers.end(), *rank);
  }
  return false;
}

}  // namespace muster
