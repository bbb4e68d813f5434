// The ring and its index
//
// slots_ is one ring of changes for all keys, in revision order. keys_ says for each key at which
// sequence numbers its changes are, so that a reader touches its own changes only, and how far back
// that list is complete (Key::left):
//
// - A change is appended to the ring and to its key. Beyond the bounds the oldest slot goes, and
//   its revision becomes compacted_ and its key's `left`.
// - A key in keys_ loses nothing unnoticed: a reader at or above `left` finds all that came after.
//   So a follower to whom nothing happens stays readable however far the ring moves on.
// - A key without changes in the ring and without followers is not in keys_. Nobody knows any more
//   when its last change left, so `left` is compacted_ for it: a reader from before that goes to
//   the log.
//
// A reader that is behind `left` gets Found::behind and reads the event log up to there
// (FeedReader).
#include "server/watch/feed.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace muster {
namespace {

// Nullopt for a change that nobody follows by itself.
std::optional<FeedKey> KeyOfChange(const Change& change) {
  if (const auto* node = std::get_if<NodeChange>(&change.what)) return KeyOf(node->uid);
  if (const auto* assignment = std::get_if<AssignmentChange>(&change.what)) {
    return KeyOf(assignment->node);
  }
  if (std::holds_alternative<StoredEvents>(change.what)) return KeyOfLog();
  if (const auto* assembly = std::get_if<AssemblyChange>(&change.what)) return KeyOf(assembly->uid);
  return std::nullopt;
}

// About what the change holds in memory.
size_t BytesOf(const Change& change) {
  size_t bytes = sizeof(Change) + 64;
  if (const auto* assignment = std::get_if<AssignmentChange>(&change.what)) {
    bytes += assignment->assigned.size() * sizeof(Assignment) +
             assignment->unassigned.size() * sizeof(uint32_t);
  } else if (const auto* assembly = std::get_if<AssemblyChange>(&change.what)) {
    if (assembly->message != nullptr) bytes += assembly->message->size();
    // A member's claim may list every shard.
    for (const auto& member : assembly->members) bytes += sizeof(member) + member.ByteSizeLong();
  } else if (const auto* stored = std::get_if<StoredEvents>(&change.what)) {
    bytes += stored->row.size();
  }
  return bytes;
}

}  // namespace

FeedKey KeyOf(NodeUid node) { return FeedKey{FeedKey::Kind::kNode, node.value}; }
FeedKey KeyOf(AssemblyUid assembly) { return FeedKey{FeedKey::Kind::kAssembly, assembly.value}; }
FeedKey KeyOfLog() { return FeedKey{FeedKey::Kind::kLog, 0}; }

void Feed::Start(Revision revision) {
  MutexLock lock(mutex_);
  compacted_ = revision;
  durable_ = revision;
}

Feed::Key& Feed::At(FeedKey key) {
  const auto [entry, added] = keys_.try_emplace(key);
  if (added) entry->second.left = compacted_;
  return entry->second;
}

void Feed::EraseIfIdle(FeedKey key) {
  const auto entry = keys_.find(key);
  if (entry->second.positions.empty() && entry->second.followers == 0) keys_.erase(entry);
}

void Feed::DropOldest() {
  const Slot& slot = slots_.front();
  const FeedKey key = slot.key;
  compacted_ = slot.change->revision;
  Key& entry = At(key);
  entry.positions.pop_front();
  entry.left = compacted_;
  EraseIfIdle(key);
  bytes_ -= slot.bytes;
  slots_.pop_front();
  ++first_;
}

void Feed::Append(FeedKey key, Change change) {
  const size_t bytes = BytesOf(change);
  At(key).positions.push_back(first_ + slots_.size());
  slots_.push_back(Slot{key, std::make_shared<const Change>(std::move(change)), bytes});
  bytes_ += bytes;
  // The newest change stays even if it alone is above the bound: its readers are about to come.
  while (slots_.size() > options_.max_changes ||
         (bytes_ > options_.max_bytes && slots_.size() > 1)) {
    DropOldest();
  }
}

void Feed::SetListener(std::function<void(const std::vector<FeedKey>&)> listener) {
  MutexLock lock(listener_mutex_);
  listener_ = std::move(listener);
}

void Feed::Publish(std::vector<Change> changes, Revision durable) {
  absl::flat_hash_set<FeedKey> seen;
  std::vector<FeedKey> touched;
  {
    MutexLock lock(mutex_);
    for (Change& change : changes) {
      const std::optional<FeedKey> key = KeyOfChange(change);
      if (!key.has_value()) continue;
      if (seen.insert(*key).second) touched.push_back(*key);
      Append(*key, std::move(change));
    }
    durable_ = std::max(durable_, durable);
  }
  // Outside `mutex_`: those who are woken read at once. After durable_ is set, so that they find
  // it.
  MutexLock lock(listener_mutex_);
  if (!touched.empty()) listener_(touched);
}

Feed::Found Feed::Read(FeedKey key, Revision after, size_t limit) const {
  MutexLock lock(mutex_);
  Found found;
  const auto entry = keys_.find(key);
  const Revision left = entry == keys_.end() ? compacted_ : entry->second.left;
  if (after < left) {
    found.behind = left;
    return found;
  }
  if (entry == keys_.end()) return found;
  const auto& positions = entry->second.positions;
  auto position = std::partition_point(positions.begin(), positions.end(), [&](uint64_t at) {
    return slots_[at - first_].change->revision <= after;
  });
  for (; position != positions.end(); ++position) {
    const ChangePtr& change = slots_[*position - first_].change;
    // Beyond the limit only what belongs to the revision that was begun.
    if (found.changes.size() >= limit && change->revision != found.changes.back()->revision) break;
    found.changes.push_back(change);
  }
  found.more = position != positions.end();
  return found;
}

Revision Feed::durable() const {
  MutexLock lock(mutex_);
  return durable_;
}

void Feed::Follow(FeedKey key) {
  MutexLock lock(mutex_);
  ++At(key).followers;
}

void Feed::Unfollow(FeedKey key) {
  MutexLock lock(mutex_);
  --At(key).followers;
  EraseIfIdle(key);
}

}  // namespace muster
