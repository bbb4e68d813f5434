#include "server/registry/member_state.h"

#include <algorithm>

namespace muster {

size_t MemberState::PositionOf(uint32_t shard) const {
  const auto found = std::lower_bound(
      assignments.begin(), assignments.end(), shard,
      [](const Assignment& assignment, uint32_t wanted) { return assignment.shard < wanted; });
  if (found == assignments.end() || found->shard != shard) return assignments.size();
  return static_cast<size_t>(found - assignments.begin());
}

bool MemberState::whole() const {
  return live && required() > 0 && required() >= own_shards && ready == required();
}

bool MemberState::holds() const {
  if (!live || ready != required()) return false;
  return open() ? required() >= own_shards : required() > 0;
}

}  // namespace muster
