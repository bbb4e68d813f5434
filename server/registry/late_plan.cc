#include "server/registry/late_plan.h"

#include <algorithm>
#include <iterator>

namespace muster {
namespace {

// The planned assignment of the shard, or null.
const Assignment* FindPlanned(const PlannedAssembly::Member& planned, uint32_t shard) {
  const auto found = std::lower_bound(
      planned.assignments.begin(), planned.assignments.end(), shard,
      [](const Assignment& assignment, uint32_t wanted) { return assignment.shard < wanted; });
  return found != planned.assignments.end() && found->shard == shard ? &*found : nullptr;
}

bool Holds(const Assembly::Member& member, uint32_t shard) {
  return member.PositionOf(shard) < member.assignments.size();
}

}  // namespace

const Assembly::Member* LatePlan::Find(NodeUid node) const {
  const Node* entry = nodes_.FindByUid(node);
  return entry == nullptr ? nullptr : assembly_.FindMember(entry->row.name());
}

const Assembly::Member* LatePlan::FindUntouched(NodeUid node) const {
  const Assembly::Member* member = Find(node);
  return member == nullptr || member->touched_at > plan_.inputs_version ? nullptr : member;
}

bool LatePlan::MayGo(const PlannedAssembly::Member& planned, uint32_t shard) const {
  const auto found = planned.stand_ins.find(shard);
  return found == planned.stand_ins.end() ||
         std::all_of(found->second.begin(), found->second.end(),
                     [&](NodeUid node) { return FindUntouched(node) != nullptr; });
}

bool LatePlan::MayEnd(NodeUid source, uint32_t shard) const {
  const Assembly::Member* member = Find(source);
  return member == nullptr || member->touched_at <= plan_.inputs_version || !Holds(*member, shard);
}

bool LatePlan::TellsShortage(const PlannedAssembly::Member& planned) const {
  const Assembly::Member* member = FindUntouched(planned.node);
  return member != nullptr && member->shortage != planned.shortage;
}

std::optional<LatePlan::Held> LatePlan::Losses(const PlannedAssembly::Member& planned) const {
  const Assembly::Member* member = FindUntouched(planned.node);
  if (member == nullptr) return std::nullopt;
  Held held;
  bool differs = false;
  for (const Assignment& present : member->assignments) {
    const uint32_t shard = present.shard;
    const Assignment* kept = FindPlanned(planned, shard);
    if ((kept == nullptr || *kept != present) && MayGo(planned, shard)) {
      differs = true;
      continue;
    }
    held.assignments.push_back(present);
    if (!member->IsExtra(shard)) continue;
    const NodeUid source = member->replaces.at(shard);
    const bool ends = kept != nullptr && *kept == present && !planned.replaces.contains(shard);
    if (ends && MayEnd(source, shard)) {
      differs = true;
    } else {
      held.replaces[shard] = source;
    }
  }
  if (!differs) return std::nullopt;
  return held;
}

bool LatePlan::MayAdd(const Assembly::Member& member, const PlannedAssembly::Member& planned,
                      const Assignment& assignment) const {
  const uint32_t shard = assignment.shard;
  // It was to be kept, and is gone.
  if (assignment.generation.value != 0) return false;
  const auto replaced = planned.replaces.find(shard);
  if (replaced == planned.replaces.end()) {
    return member.meaning != ClaimKind::kAny || assembly_.IsShort(shard);
  }
  const Assembly::Member* source = FindUntouched(replaced->second);
  return source != nullptr && Holds(*source, shard) && !source->IsExtra(shard);
}

// Shards that assemblies of one model version share are counted each: the plan that follows knows
// better, where that is one too many.
bool LatePlan::HasRoom(const Assembly::Member& member, uint64_t added_bytes) const {
  const Node& node = *nodes_.FindByUid(member.node);
  const uint64_t capacity = node.row.capacity_bytes();
  return capacity == 0 ||
         (node.assigned_bytes <= capacity && added_bytes <= capacity - node.assigned_bytes);
}

std::optional<LatePlan::Held> LatePlan::Gains(const PlannedAssembly::Member& planned) const {
  const Assembly::Member* member = FindUntouched(planned.node);
  if (member == nullptr) return std::nullopt;
  Held held{{}, member->replaces};
  std::vector<Assignment> added;
  uint64_t bytes = 0;
  for (const Assignment& assignment : planned.assignments) {
    if (Holds(*member, assignment.shard)) continue;
    if (!MayAdd(*member, planned, assignment)) return std::nullopt;
    added.push_back(assignment);
    bytes += assembly_.version().shards[assignment.shard].size_bytes;
    const auto replaced = planned.replaces.find(assignment.shard);
    if (replaced != planned.replaces.end()) held.replaces.insert(*replaced);
  }
  if (added.empty() || !HasRoom(*member, bytes)) return std::nullopt;
  std::merge(member->assignments.begin(), member->assignments.end(), added.begin(), added.end(),
             std::back_inserter(held.assignments));
  return held;
}

}  // namespace muster
