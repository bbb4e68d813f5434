#include "server/registry/lease_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/registry/limits.h"
#include "server/registry/node_errors.h"
#include "server/registry/validation.h"

namespace muster {
namespace {

// The order of a hash map differs from run to run; a simulation must not.
void SortByNode(std::vector<LeaseTable::Lease>& leases) {
  std::sort(leases.begin(), leases.end(),
            [](const LeaseTable::Lease& a, const LeaseTable::Lease& b) { return a.node < b.node; });
}

}  // namespace

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
  entry.applied = Revision(request.applied_revision());
  entry.progress.assign(request.progress().begin(), request.progress().end());
  HeartbeatResult result;
  result.lease_ttl_us = absl::ToInt64Microseconds(entry.ttl);
  result.heartbeat_interval_us = result.lease_ttl_us / kHeartbeatsPerTtl;
  if (entry.lost) result.revive = Lease{entry.uid, entry.epoch};
  return result;
}

bool LeaseTable::IsDue(const Entry& entry) const {
  return entry.lost && !entry.released && entry.release_at <= now_ && entry.deadline < now_;
}

LeaseTable::Zones LeaseTable::BrakedZones() {
  struct Count {
    size_t nodes = 0;
    size_t lost = 0;
  };
  absl::flat_hash_map<absl::string_view, Count> counts;
  for (const auto& [name, entry] : by_name_) {
    Count& count = counts[entry.zone];
    ++count.nodes;
    if (entry.lost && !entry.released) ++count.lost;
  }
  Zones braked;
  for (const auto& [zone, count] : counts) {
    if (count.lost >= options_.brake_min_nodes &&
        static_cast<double>(count.lost) >=
            options_.brake_share * static_cast<double>(count.nodes)) {
      braked.emplace(zone);
    }
  }
  return braked;
}

std::vector<LeaseTable::Lease> LeaseTable::Braked(const std::optional<std::string>& zone) {
  MutexLock lock(mutex_);
  const Zones braked = BrakedZones();
  std::vector<Lease> leases;
  for (const auto& [name, entry] : by_name_) {
    if (!IsDue(entry) || !braked.contains(entry.zone)) continue;
    if (!zone.has_value() || *zone == entry.zone) leases.push_back(Lease{entry.uid, entry.epoch});
  }
  SortByNode(leases);
  return leases;
}

LeaseTable::Due LeaseTable::Tick(absl::Duration monotonic) {
  MutexLock lock(mutex_);
  const bool stalled = !ticked_ || monotonic - now_ > options_.stall_threshold;
  ticked_ = true;
  now_ = monotonic;
  Due due;
  bool any_due = false;
  for (auto& [name, entry] : by_name_) {
    if (stalled) {
      entry.deadline = now_ + entry.ttl;
      entry.release_at = entry.deadline + options_.move_grace;
    }
    if (!entry.lost && entry.deadline < now_) due.expired.push_back(Lease{entry.uid, entry.epoch});
    any_due = any_due || IsDue(entry);
  }
  if (any_due) {
    const Zones braked = BrakedZones();
    for (const auto& [name, entry] : by_name_) {
      if (!IsDue(entry) || braked.contains(entry.zone)) continue;
      due.released.push_back(Lease{entry.uid, entry.epoch});
    }
  }
  SortByNode(due.expired);
  SortByNode(due.released);
  return due;
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
  if (event.lost && !entry.lost) entry.release_at = now_ + options_.move_grace;
  entry.lost = event.lost;
  entry.released = event.released;
  entry.zone = event.zone;
}

Revision LeaseTable::AppliedBy(NodeUid node) {
  MutexLock lock(mutex_);
  const Entry* entry = Find(node);
  return entry == nullptr ? Revision(0) : entry->applied;
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
