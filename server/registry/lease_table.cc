#include "server/registry/lease_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/registry/limits.h"
#include "server/registry/node_errors.h"
#include "server/registry/validation.h"

namespace muster {

absl::StatusOr<LeaseTable::HeartbeatResult> LeaseTable::Heartbeat(
    const muster::v1::HeartbeatRequest& request) {
  if (!request.has_epoch()) return InvalidField("epoch", "", "required");
  if (request.progress_size() > static_cast<int>(kMaxItemsPerCall)) {
    return InvalidField("progress", absl::StrCat(request.progress_size(), " entries"),
                        absl::StrCat("at most ", kMaxItemsPerCall));
  }
  MutexLock lock(mutex_);
  const auto found = by_name_.find(request.name());
  if (found == by_name_.end()) return NodeUnknown(request.name());
  Entry& entry = found->second;
  if (Epoch(request.epoch()) != entry.epoch) {
    return NodeFenced(request.name(), Epoch(request.epoch()), entry.epoch);
  }
  entry.deadline = now_ + entry.ttl;
  entry.progress.assign(request.progress().begin(), request.progress().end());
  HeartbeatResult result;
  result.lease_ttl_us = absl::ToInt64Microseconds(entry.ttl);
  result.heartbeat_interval_us = result.lease_ttl_us / kHeartbeatsPerTtl;
  if (entry.lost) result.revive = Lease{entry.uid, entry.epoch};
  return result;
}

std::vector<LeaseTable::Lease> LeaseTable::Tick(absl::Duration monotonic) {
  MutexLock lock(mutex_);
  const bool stalled = !ticked_ || monotonic - now_ > options_.stall_threshold;
  ticked_ = true;
  now_ = monotonic;
  std::vector<Lease> expired;
  for (auto& [name, entry] : by_name_) {
    if (stalled) entry.deadline = now_ + entry.ttl;
    if (!entry.lost && entry.deadline < now_) expired.push_back(Lease{entry.uid, entry.epoch});
  }
  // The order of a hash map differs from run to run; a simulation must not.
  std::sort(expired.begin(), expired.end(),
            [](const Lease& a, const Lease& b) { return a.node < b.node; });
  return expired;
}

LeaseTable::Entry* LeaseTable::Find(NodeUid node) {
  const auto name = names_.find(node);
  return name == names_.end() ? nullptr : &by_name_.at(name->second);
}

bool LeaseTable::HasExpired(NodeUid node, Epoch epoch) {
  MutexLock lock(mutex_);
  const Entry* entry = Find(node);
  return entry != nullptr && entry->epoch == epoch && entry->deadline < now_;
}

void LeaseTable::Apply(const NodeEvent& event) {
  MutexLock lock(mutex_);
  if (event.removed) {
    if (names_.erase(event.uid) > 0) by_name_.erase(event.name);
    return;
  }
  Entry& entry = by_name_[event.name];
  const bool registered = entry.uid != event.uid || entry.epoch != event.epoch;
  if (registered) {
    names_.erase(entry.uid);
    names_[event.uid] = event.name;
    entry = Entry{};
    entry.uid = event.uid;
    entry.epoch = event.epoch;
    entry.ttl = absl::Microseconds(event.lease_ttl_us);
    entry.deadline = now_ + entry.ttl;
  }
  entry.lost = event.lost;
}

uint64_t LeaseTable::ProgressOf(NodeUid node, absl::string_view assembly, uint32_t shard) {
  MutexLock lock(mutex_);
  const Entry* entry = Find(node);
  if (entry == nullptr) return 0;
  for (const auto& progress : entry->progress) {
    if (progress.shard() == shard && progress.assembly() == assembly) return progress.done_bytes();
  }
  return 0;
}

uint64_t LeaseTable::ProgressOf(NodeUid node, absl::string_view assembly) {
  MutexLock lock(mutex_);
  const Entry* entry = Find(node);
  uint64_t total = 0;
  if (entry == nullptr) return 0;
  for (const auto& progress : entry->progress) {
    if (progress.assembly() == assembly) total += progress.done_bytes();
  }
  return total;
}

}  // namespace muster
