#include "server/watch/feed.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"

namespace muster {
namespace {

// Nullopt for an event that nobody who follows a node or an assembly is told of.
std::optional<FeedKey> KeyOfEvent(const Event& event) {
  if (const auto* node = std::get_if<NodeEvent>(&event.what)) return KeyOf(node->uid);
  if (const auto* assignment = std::get_if<AssignmentEvent>(&event.what)) {
    return KeyOf(assignment->node);
  }
  if (const auto* assembly = std::get_if<AssemblyEvent>(&event.what)) return KeyOf(assembly->uid);
  return std::nullopt;
}

// About what the event holds in memory.
size_t BytesOf(const Event& event) {
  size_t bytes = sizeof(Event) + 64;
  if (const auto* assignment = std::get_if<AssignmentEvent>(&event.what)) {
    bytes += assignment->assigned.size() * sizeof(Assignment) +
             assignment->unassigned.size() * sizeof(uint32_t);
  } else if (const auto* assembly = std::get_if<AssemblyEvent>(&event.what)) {
    if (assembly->assembly != nullptr) bytes += 2 * assembly->assembly->ByteSizeLong();
    // A member's claim may list every shard.
    for (const auto& member : assembly->members) bytes += sizeof(member) + member.ByteSizeLong();
  }
  return bytes;
}

}  // namespace

FeedKey KeyOf(NodeUid node) { return FeedKey{FeedKey::Kind::kNode, node.value}; }
FeedKey KeyOf(AssemblyUid assembly) { return FeedKey{FeedKey::Kind::kAssembly, assembly.value}; }

void Feed::Start(Revision revision) {
  MutexLock lock(mutex_);
  compacted_ = revision;
  durable_ = revision;
}

void Feed::DropOldest() {
  const Slot& slot = slots_.front();
  compacted_ = slot.event->revision;
  auto positions = positions_.find(slot.key);
  positions->second.pop_front();
  if (positions->second.empty()) positions_.erase(positions);
  bytes_ -= slot.bytes;
  slots_.pop_front();
  ++first_;
}

void Feed::Append(FeedKey key, Event event) {
  const size_t bytes = BytesOf(event);
  positions_[key].push_back(first_ + slots_.size());
  slots_.push_back(Slot{key, std::make_shared<const Event>(std::move(event)), bytes});
  bytes_ += bytes;
  while (slots_.size() > options_.max_events ||
         (bytes_ > options_.max_bytes && slots_.size() > 1)) {
    DropOldest();
  }
}

void Feed::Publish(std::vector<Event> events, Revision durable) {
  absl::flat_hash_set<FeedKey> touched;
  {
    MutexLock lock(mutex_);
    for (Event& event : events) {
      const std::optional<FeedKey> key = KeyOfEvent(event);
      if (!key.has_value()) continue;
      touched.insert(*key);
      Append(*key, std::move(event));
    }
    durable_ = std::max(durable_, durable);
  }
  MutexLock lock(wake_mutex_);
  for (const FeedKey& key : touched) {
    const auto watchers = watchers_.find(key);
    if (watchers == watchers_.end()) continue;
    for (const auto& [subscription, wake] : watchers->second) wake();
  }
}

absl::StatusOr<std::vector<Feed::EventPtr>> Feed::Read(FeedKey key, Revision after,
                                                       size_t limit) const {
  MutexLock lock(mutex_);
  if (after < compacted_) {
    return MakeError(
        absl::StatusCode::kOutOfRange, "REVISION_COMPACTED",
        absl::StrCat("revision ", after.value, " is too old to resume from: the oldest is ",
                     compacted_.value, "; start from a snapshot"),
        {{"revision", absl::StrCat(after.value)},
         {"compact_revision", absl::StrCat(compacted_.value)}});
  }
  std::vector<EventPtr> events;
  const auto found = positions_.find(key);
  if (found == positions_.end()) return events;
  const auto& positions = found->second;
  auto position = std::partition_point(positions.begin(), positions.end(), [&](uint64_t at) {
    return slots_[at - first_].event->revision <= after;
  });
  for (; position != positions.end(); ++position) {
    const EventPtr& event = slots_[*position - first_].event;
    if (events.size() >= limit && event->revision != events.back()->revision) break;
    events.push_back(event);
  }
  return events;
}

absl::Status Feed::CheckResume(FeedKey key, Revision start, Revision newest) const {
  if (start <= newest) return Read(key, start, 1).status();
  return MakeError(
      absl::StatusCode::kOutOfRange, "REVISION_COMPACTED",
      absl::StrCat("revision ", start.value, " is beyond the newest, ", newest.value,
                   "; start from a snapshot"),
      {{"revision", absl::StrCat(start.value)}, {"compact_revision", absl::StrCat(newest.value)}});
}

Revision Feed::durable() const {
  MutexLock lock(mutex_);
  return durable_;
}

uint64_t Feed::Subscribe(FeedKey key, std::function<void()> wake) {
  MutexLock lock(wake_mutex_);
  const uint64_t subscription = next_subscription_++;
  watchers_[key][subscription] = std::move(wake);
  return subscription;
}

void Feed::Unsubscribe(FeedKey key, uint64_t subscription) {
  MutexLock lock(wake_mutex_);
  const auto watchers = watchers_.find(key);
  if (watchers == watchers_.end()) return;
  watchers->second.erase(subscription);
  if (watchers->second.empty()) watchers_.erase(watchers);
}

}  // namespace muster
