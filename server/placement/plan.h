// What a plan is made from, and what it says: values.
#ifndef MUSTER_SERVER_PLACEMENT_PLAN_H_
#define MUSTER_SERVER_PLACEMENT_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "storage/base/numbers.h"
#include "storage/base/placement_policy.h"

namespace muster {

// 128 bits that are equal for shards of equal bytes: an MD5, say. They break ties between nodes.
struct ContentId {
  uint64_t high = 0;
  uint64_t low = 0;
};

// A shard of the model version; its position in the list is its index.
struct PlanShard {
  uint64_t size_bytes = 0;
  ContentId content;
  std::optional<uint32_t> rank;
  // Position in PlanInput::location_zones: the zones in which the shard has locations.
  uint32_t location_zones = 0;
};

// What a node asks for; MeaningOf says what that means under the policy.
struct PlanClaim {
  using Kind = ClaimKind;
  Kind kind = Kind::kAny;
  // For kShards, in any order, repeats allowed.
  std::vector<ShardIndex> shards;
  // For kRanks: the node gets the shards of these ranks.
  std::vector<uint32_t> ranks;
};

// `generation` marks the plan that made the assignment. In a plan, kNewGeneration marks what the
// plan adds; the caller writes its own generation there.
//
// A move is made before it is broken: the new replica names in `replaces` the node whose replica it
// will take over from, and is not required until it is ready. The first plan that finds it ready
// drops the old replica and clears `replaces`; the first that finds the old one gone clears
// `replaces` at once. Until then both take room.
struct PlanAssignment {
  ShardIndex shard;
  Generation generation;
  // Uid of the node that holds the replica to be replaced; 0 for an ordinary replica.
  uint64_t replaces = 0;
  // Of present assignments: the node has reported it READY, and the report counts.
  bool ready = false;

  bool operator==(const PlanAssignment&) const = default;
};
inline constexpr Generation kNewGeneration{0};

// A member of the assembly.
struct PlanNode {
  // Stable and never used twice.
  uint64_t uid = 0;
  // For messages: "n1".
  std::string name;
  // Nodes without a zone share the zone "".
  std::string zone;
  // 0 means unbounded.
  uint64_t capacity_bytes = 0;
  // What other assemblies have on the node, equal content counted once.
  uint64_t used_bytes = 0;
  // Shards of this model version whose bytes `used_bytes` holds already; assigning them costs no
  // room.
  std::vector<ShardIndex> already_counted;
  // Shards are added only to nodes that are live, selected and not draining.
  bool live = true;
  // Its labels fit the assembly's selector. What it has nevertheless leaves as if it were draining.
  bool selected = true;
  // What the node has stays until a replacement elsewhere is ready.
  bool draining = false;
  // False, on a node that is not live, releases what it has at once, so that other nodes get it.
  bool keeps_assignments = true;
  // Shards whose bytes its cache holds, ascending; it is preferred for them.
  std::vector<ShardIndex> cached;
  // Shards that failed here too often, ascending: the node gets them only if no other one can, and
  // what it has of them, not ready, goes elsewhere.
  std::vector<ShardIndex> unfit;
  PlanClaim claim;
  // What the node has, each shard once, in any order.
  std::vector<PlanAssignment> present;
};

struct PlanInput {
  PlacementPolicy policy = PlacementPolicy::kBalanced;
  // Must outlive the call.
  absl::Span<const PlanShard> shards;
  // What PlanShard::location_zones points into; each list is sorted. Empty: no shard prefers a zone.
  std::vector<std::vector<std::string>> location_zones;
  // The members, in any order.
  std::vector<PlanNode> nodes;
  // Nodes that are to hold each shard that no claim covers, where the policy has replicas; 0 means 1.
  uint32_t replicas = 1;
  // How many bytes of replicas may be on the move at once to even out the loads, those included
  // that present assignments are moving already; 0 moves nothing. Moves off draining nodes are not
  // bounded by it.
  uint64_t move_budget_bytes = 0;
  // Loads count as even while the fullest node is below (1 + epsilon) of the mean.
  double move_epsilon = 0.05;
};

// What a node that gets shards by its own claim lacks of them needs more room than it has left. It
// gets all of them or none: with a part of what is its a node serves nothing.
struct PlanShortage {
  uint64_t needed_bytes = 0;
  uint64_t free_bytes = 0;

  bool operator==(const PlanShortage&) const = default;
};

// What one node gets.
struct NodePlan {
  // Differs from what the node has.
  bool changed = false;
  // By shard index, ascending. What is kept carries its old generation.
  std::vector<PlanAssignment> assignments;
  // Unset: it has room for all that is its by its claim.
  std::optional<PlanShortage> shortage;
};

// Shards that a plan leaves with fewer replicas than wanted, all for one cause.
struct Unplaced {
  enum class Cause : uint8_t {
    // Nobody claims these shards, which is what the policy goes by.
    kUnclaimed,
    // No node has room, or the one that claims them has none.
    kNoRoom,
    // There are too few nodes that could take them.
    kTooFewNodes,
  };
  Cause cause = Cause::kNoRoom;
  // One sentence with names and numbers, about the largest of the shards.
  std::string message;
  // Position in the input of the node that has no room for its claim: others may well hold the
  // shards. Unset where no single node is to blame.
  std::optional<size_t> node;
  // Ascending.
  std::vector<ShardIndex> shards;
};

// A replica that is to leave its node and can't yet.
struct BlockedMove {
  // Position in the input of the node that is to be left.
  size_t node = 0;
  // Why; one sentence about the largest of the shards, with names and numbers.
  std::string message;
  // Ascending.
  std::vector<ShardIndex> shards;
};

struct Plan {
  // Parallel to the input's nodes.
  std::vector<NodePlan> nodes;
  // Empty when every shard is placed as often as wanted.
  std::vector<Unplaced> unplaced;
  // What waits for room, or for another member, elsewhere; it takes nothing from the barrier.
  std::vector<BlockedMove> blocked;
  // False when every node keeps exactly what it has.
  bool changed = false;
  // Sizes of the assignments that the plan adds and drops, and of those among them that go from one
  // node to another.
  uint64_t added_bytes = 0;
  uint64_t removed_bytes = 0;
  uint64_t moved_bytes = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_PLAN_H_
