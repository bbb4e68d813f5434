#include "server/rpc/watch_stream.h"

#include <algorithm>

#include "storage/base/resource_name.h"

namespace muster {

namespace v1 = muster::v1;

void HideOthers(const Gate& gate, const Admitted& admitted, const Registry& registry,
                v1::WatchEventsResponse& message) {
  const RegistryMembers members(registry);
  auto& events = *message.mutable_events();
  events.erase(std::remove_if(
                   events.begin(), events.end(),
                   [&](const v1::Event& event) { return !gate.MayShow(admitted, event, members); }),
               events.end());
  // A place to resume from is all that is left.
  if (events.empty() && message.complete()) message.set_progress(true);
}

void HideOthers(const Gate& gate, const Admitted& admitted, const Registry& registry,
                v1::WatchAssignmentsResponse& message) {
  const RegistryMembers members(registry);
  auto& assigned = *message.mutable_assigned();
  assigned.erase(
      std::remove_if(assigned.begin(), assigned.end(),
                     [&](const v1::AssignedShard& item) {
                       const auto shard = ParseShardName(item.shard().name());
                       return !shard.ok() ||
                              !gate.CheckVersion(admitted, shard->version.ToString(), members).ok();
                     }),
      assigned.end());
}

}  // namespace muster
