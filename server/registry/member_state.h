// One node in an assembly: what it claims, has, and has reported.
#ifndef MUSTER_SERVER_REGISTRY_MEMBER_STATE_H_
#define MUSTER_SERVER_REGISTRY_MEMBER_STATE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "muster/store/rows.pb.h"
#include "muster/v1/assembly.pb.h"
#include "server/registry/change.h"
#include "server/registry/planned_assembly.h"
#include "server/registry/shared_list.h"
#include "server/registry/uid.h"
#include "storage/base/numbers.h"
#include "storage/base/placement_policy.h"

namespace muster {

// Assembly alone writes it.
struct MemberState {
  NodeUid node;
  muster::v1::Claim claim;
  bool live = false;
  // The node is being drained.
  bool draining = false;
  // The node's labels fit the assembly's selector.
  bool selected = true;
  // The epoch that the reports are of.
  Epoch epoch;
  // Of the latest report. Stored with the next one that changes something.
  uint64_t report_sequence = 0;
  // In shard order; `states` stands beside it, a ShardReport::State each.
  SharedList<Assignment> assignments;
  std::vector<uint8_t> states;
  // The node whose replica the one here will take over from, by shard. Such a replica is extra:
  // it is not required and counts nothing until a plan has made it an ordinary one.
  Replacements replaces;
  // By shard, for those that are FAILED.
  std::map<uint32_t, muster::v1::ShardFailure> failures;
  // Those of them that say more than a code.
  size_t detailed_failures = 0;
  // By shard: what failed here so often that another node was asked for.
  std::map<uint32_t, muster::store::ReadinessRow::GivenUp> given_up;
  // Shards whose bytes the node's cache held when it registered, ascending.
  SharedList<uint32_t> cached;
  // What the claim means under the policy. AddMember sets it, and the number of shards that the
  // node gets by it.
  ClaimKind meaning = ClaimKind::kAny;
  uint32_t own_shards = 0;
  // Of the assignments that are not extra; `assigned_bytes` is of all, as each takes room.
  uint32_t ready = 0;
  uint64_t ready_bytes = 0;
  uint64_t assigned_bytes = 0;
  uint64_t incoming_bytes = 0;
  // Of a member that gets shards by its own claim: it held all of them once, and has not been
  // released since. Never without a required assignment.
  bool established = false;
  // The last plan found no room for what is the member's by its own claim.
  std::optional<PlanShortage> shortage;
  // The inputs_version of the last change after which an older plan of this member, or one that
  // counts on what it has READY, can't stand.
  uint64_t touched_at = 0;

  // May get shards.
  bool open() const { return live && selected && !draining; }
  // What it has is to go elsewhere.
  bool leaving() const { return draining || !selected; }
  // Gets shards by its claim (or by FULL), not by the planner's choice.
  bool claims() const { return meaning != ClaimKind::kAny; }
  // A plan will give it shards, or it has some.
  bool able() const { return open() ? !shortage.has_value() : required() > 0; }
  // All that it is to have is assigned to it and READY, and that is something.
  bool whole() const;
  // The same; but one that is being left is to have what it still has, and one that the plan gives
  // nothing has that.
  bool holds() const;
  bool IsExtra(uint32_t shard) const { return !replaces.empty() && replaces.contains(shard); }
  uint32_t required() const { return static_cast<uint32_t>(assignments.size() - replaces.size()); }
  // The position of the shard's assignment; the size of the list when there is none.
  size_t PositionOf(uint32_t shard) const;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_MEMBER_STATE_H_
