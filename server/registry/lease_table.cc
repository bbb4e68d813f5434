#include "server/registry/lease_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/limits.h"
#include "server/registry/node_errors.h"
#include "server/registry/validation.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

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
  if (request.progress_size() > kMaxItemsPerCall) {
    return InvalidField("progress", absl::StrCat(request.progress_size(), " entries"),
                        absl::StrCat("at most ", kMaxItemsPerCall));
  }
  // They are kept, so that no long name may hide among them.
  for (const auto& progress : request.progress()) {
    MUSTER_RETURN_IF_ERROR(
        CheckText("progress.assembly", progress.assembly(), kMaxProgressNameBytes));
  }
  MutexLock lock(mutex_);
  const auto found = by_name_.find(request.name());
  if (found == by_name_.end()) return NodeUnknown(request.name());
  Entry& entry = found->second;
  if (Epoch(request.epoch()) != entry.epoch) {
    return WrongEpoch(request.name(), Epoch(request.epoch()), entry.epoch);
  }
  entry.deadline = now_ + entry.ttl;
  ++entry.renewals;
  entry.applied = Revision(request.applied_revision());
  entry.heard_of = true;
  entry.progress.assign(request.progress().begin(), request.progress().end());
  HeartbeatResult result;
  result.lease_ttl_us = absl::ToInt64Microseconds(entry.ttl);
  result.heartbeat_interval_us = result.lease_ttl_us / kHeartbeatsPerTtl;
  // Once, however often the node calls before it is taken back: Apply forgets the question.
  if (entry.lost && !std::exchange(entry.revive_asked, true)) {
    result.revive = Lease{entry.uid, entry.epoch};
  }
  return result;
}

bool LeaseTable::IsDue(const Entry& entry) const {
  return entry.lost && !entry.released && entry.release_at <= now_ && entry.deadline < now_;
}

void LeaseTable::CountInZone(const Entry& entry, int sign) {
  // Those that are released are gone: however many they are, they say nothing of the zone.
  if (entry.released) return;
  Zone& zone = zones_[entry.zone];
  zone.nodes += sign;
  if (entry.lost) zone.lost += sign;
  if (zone.nodes == 0) zones_.erase(entry.zone);
}

bool LeaseTable::IsBraked(const Entry& entry) const { return IsDue(entry) && WillBeBraked(entry); }

bool LeaseTable::WillBeBraked(const Entry& entry) const {
  if (!entry.lost || entry.released) return false;
  const Zone& zone = zones_.at(entry.zone);
  return zone.lost >= options_.brake_min_nodes &&
         static_cast<double>(zone.lost) >= options_.brake_share * static_cast<double>(zone.nodes);
}

bool LeaseTable::IsBraked(NodeUid node) const {
  MutexLock lock(mutex_);
  const Entry* entry = Find(node);
  return entry != nullptr && IsBraked(*entry);
}

bool LeaseTable::WillBeBraked(NodeUid node) const {
  MutexLock lock(mutex_);
  const Entry* entry = Find(node);
  return entry != nullptr && WillBeBraked(*entry);
}

std::vector<LeaseTable::Lease> LeaseTable::Braked(const std::optional<std::string>& zone) const {
  MutexLock lock(mutex_);
  std::vector<Lease> leases;
  for (const auto& [name, entry] : by_name_) {
    if (zone.has_value() && *zone != entry.zone) continue;
    if (IsBraked(entry)) leases.push_back(Lease{entry.uid, entry.epoch});
  }
  SortByNode(leases);
  return leases;
}

bool LeaseTable::IsGuarded() const {
  MutexLock lock(mutex_);
  return guarded_;
}

void LeaseTable::NoteGuardEnd() {
  MutexLock lock(mutex_);
  if (!guarded_) guard_end_noted_ = true;
}

bool LeaseTable::MayEndGuard() const {
  size_t live = 0, heard_of = 0;
  for (const auto& [name, entry] : by_name_) {
    if (entry.lost) continue;
    ++live;
    if (entry.heard_of) ++heard_of;
  }
  return now_ >= guard_end_ || live == 0 || 2 * heard_of > live;
}

void LeaseTable::NoteLateCalls() {
  MutexLock lock(mutex_);
  calls_late_ = true;
}

LeaseTable::Due LeaseTable::Tick(absl::Duration monotonic) {
  MutexLock lock(mutex_);
  const bool stalled =
      !ticked_ || std::exchange(calls_late_, false) || monotonic - now_ > options_.stall_threshold;
  ticked_ = true;
  now_ = monotonic;
  if (stalled) {
    guarded_ = true;
    guard_end_noted_ = false;
    guard_end_ = now_ + options_.guard;
  }
  Due due;
  for (auto& [name, entry] : by_name_) {
    if (stalled) {
      entry.heard_of = false;
      entry.deadline = now_ + entry.ttl;
      entry.release_at = entry.deadline + options_.move_grace;
    }
    if (!entry.lost && entry.deadline < now_) due.expired.push_back(Lease{entry.uid, entry.epoch});
    if (IsDue(entry) && !IsBraked(entry)) due.released.push_back(Lease{entry.uid, entry.epoch});
  }
  guarded_ = guarded_ && !MayEndGuard();
  due.guard_ended = !guarded_ && !guard_end_noted_;
  SortByNode(due.expired);
  SortByNode(due.released);
  return due;
}

const LeaseTable::Entry* LeaseTable::Find(NodeUid node) const {
  const auto name = names_.find(node);
  return name == names_.end() ? nullptr : &by_name_.at(name->second);
}

LeaseTable::Term LeaseTable::TermOf(NodeUid node) const {
  MutexLock lock(mutex_);
  const Entry* entry = Find(node);
  if (entry == nullptr) return {};
  return {std::max(entry->deadline - now_, absl::ZeroDuration()), entry->renewals};
}

bool LeaseTable::HasExpired(NodeUid node, Epoch epoch) const {
  MutexLock lock(mutex_);
  const Entry* entry = Find(node);
  return entry != nullptr && entry->epoch == epoch && entry->deadline < now_;
}

void LeaseTable::Apply(const NodeChange& change) {
  MutexLock lock(mutex_);
  if (change.removed) {
    if (names_.erase(change.uid) == 0) return;
    CountInZone(by_name_.at(change.name), -1);
    by_name_.erase(change.name);
    return;
  }
  const bool known = by_name_.contains(change.name);
  Entry& entry = by_name_[change.name];
  if (known) CountInZone(entry, -1);
  const bool registered = entry.uid != change.uid || entry.epoch != change.epoch;
  if (registered) {
    names_.erase(entry.uid);
    names_[change.uid] = change.name;
    entry = Entry{};
    entry.uid = change.uid;
    entry.epoch = change.epoch;
    entry.ttl = absl::Microseconds(change.lease_ttl_us);
    entry.deadline = now_ + entry.ttl;
  }
  if (change.lost && !entry.lost) entry.release_at = now_ + options_.move_grace;
  entry.lost = change.lost;
  entry.revive_asked = false;
  entry.released = change.released;
  entry.zone = change.zone;
  CountInZone(entry, 1);
}

Revision LeaseTable::AppliedBy(NodeUid node) const {
  MutexLock lock(mutex_);
  const Entry* entry = Find(node);
  return entry == nullptr ? Revision(0) : entry->applied;
}

uint64_t LeaseTable::ProgressOf(NodeUid node, absl::string_view assembly, uint32_t shard) const {
  MutexLock lock(mutex_);
  const Entry* entry = Find(node);
  if (entry == nullptr) return 0;
  for (const auto& progress : entry->progress) {
    if (progress.shard() == shard && progress.assembly() == assembly) return progress.done_bytes();
  }
  return 0;
}

uint64_t LeaseTable::ProgressOf(NodeUid node, absl::string_view assembly,
                                absl::FunctionRef<uint64_t(uint32_t shard)> bound) const {
  MutexLock lock(mutex_);
  const Entry* entry = Find(node);
  uint64_t total = 0;
  if (entry == nullptr) return 0;
  for (const auto& progress : entry->progress) {
    if (progress.assembly() != assembly) continue;
    total += std::min(progress.done_bytes(), bound(progress.shard()));
  }
  return total;
}

}  // namespace muster
