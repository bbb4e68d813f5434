// The placement policies: what each promises, as a table, and what a claim means under it.
//
// Plain types, so that the planner, the server and clients go by the same rule. A policy is a row here, and a file of its
// own in server/placement. Thread-safe: constants and pure functions.
#ifndef MUSTER_STORAGE_BASE_PLACEMENT_POLICY_H_
#define MUSTER_STORAGE_BASE_PLACEMENT_POLICY_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace muster {

// With the numbers of Assembly.Policy of muster.v1.
enum class PlacementPolicy : uint8_t {
  kDeclared = 1,
  kFull = 2,
  kBalanced = 3,
  kContiguous = 4,
  kRanked = 5,
};

// With the numbers of Claim.Kind of muster.v1.
enum class ClaimKind : uint8_t { kAny = 1, kAll = 2, kShards = 3, kRanks = 4 };

struct PolicyTraits {
  PlacementPolicy policy = PlacementPolicy::kBalanced;
  // As muster.v1 spells it.
  absl::string_view name;
  // What a node gets, for people: "every node gets all".
  absl::string_view summary;
  // A node gets what it claims. Elsewhere claims say nothing: all members are alike.
  bool claims_decide = false;
  // Every node gets every shard.
  bool holds_all = false;
  // The assembly's `replicas` says how many nodes are to hold a shard that no claim covers, spread over zones.
  bool has_replicas = false;
  // Shards go by their ranks, so each must have one.
  bool needs_rank = false;
};

// All of them, in the order in which people read of them.
absl::Span<const PolicyTraits> PlacementPolicies();

const PolicyTraits& TraitsOf(PlacementPolicy policy);

// The policy of a number of Assembly.Policy; kBalanced, under which the server chooses, for one that is not known here.
PlacementPolicy PolicyOf(int number);

// The kind of a number of Claim.Kind; kAny, with which the server chooses, for one that is not known here.
ClaimKind ClaimKindOf(int number);

// What a claim means under a policy, as a claim: kAll where the node gets every shard whatever it asked for, kAny where the
// planner chooses what it gets. The one rule for claims.
ClaimKind MeaningOf(PlacementPolicy policy, ClaimKind claim);

// Whether a claim of that meaning covers a shard. `numbers` are those of the claim, ascending: shards of kShards, ranks of
// kRanks. kAny covers none.
bool Covers(ClaimKind meaning, absl::Span<const uint32_t> numbers, uint32_t shard,
            std::optional<uint32_t> rank);

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_PLACEMENT_POLICY_H_
