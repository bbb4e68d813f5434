#include "server/registry/member_rows.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "server/registry/limits.h"

namespace muster {
namespace {

// The frame of a group, its generation and the node that it replaces, and the frame of its list.
constexpr size_t kGroupBytes = 32;
// In a set of n of at most 100,000 shards a run's gap and length take a byte each where they are
// below 128. A longer length takes no more bytes than the run has shards. All gaps together are at
// most 100,000, so that at most 781 are longer than that, and 6 above 16,383.
constexpr size_t kLongGapBytes = 787;

size_t GroupBound(size_t shards) {
  return kGroupBytes + 2 * shards + std::min(2 * shards, kLongGapBytes);
}

NodeUid ReplacedBy(const Replacements& replaces, uint32_t shard) {
  if (replaces.empty()) return NodeUid();
  const auto found = replaces.find(shard);
  return found == replaces.end() ? NodeUid() : found->second;
}

}  // namespace

size_t MemberRowBound(const std::vector<Assignment>& assignments, const Replacements& replaces) {
  absl::flat_hash_map<std::pair<uint64_t, uint64_t>, size_t> groups;
  for (const Assignment& assignment : assignments) {
    ++groups[{assignment.generation.value, ReplacedBy(replaces, assignment.shard).value}];
  }
  size_t bound = 0;
  for (const auto& [key, shards] : groups) bound += GroupBound(shards);
  return bound;
}

void FitIntoRows(Generation generation, std::vector<Assignment>& assignments,
                 Replacements& replaces) {
  if (MemberRowBound(assignments, replaces) <= kMaxMemberRowBytes) return;
  for (Assignment& assignment : assignments) assignment.generation = generation;
  if (MemberRowBound(assignments, replaces) <= kMaxMemberRowBytes) return;
  std::map<NodeUid, size_t> moves;
  for (const auto& [shard, node] : replaces) ++moves[node];
  size_t bound = GroupBound(assignments.size() - replaces.size());
  // What is put off has an entry of 0 from here on.
  for (auto& [node, shards] : moves) {
    if (bound + GroupBound(shards) > kMaxMemberRowBytes) {
      shards = 0;
    } else {
      bound += GroupBound(shards);
    }
  }
  const auto put_off = [&](uint32_t shard) {
    const auto replaced = replaces.find(shard);
    return replaced != replaces.end() && moves.at(replaced->second) == 0;
  };
  std::erase_if(assignments, [&](const Assignment& one) { return put_off(one.shard); });
  std::erase_if(replaces, [&](const auto& entry) { return moves.at(entry.second) == 0; });
}

}  // namespace muster
