#include "tests/simulation/watchers.h"

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"

namespace muster {

namespace v1 = muster::v1;

bool AssignmentWatcher::Open(World& world, uint64_t epoch) {
  if (epoch != epoch_) revision_ = 0;
  v1::WatchAssignmentsRequest request;
  request.set_node(node_);
  request.set_epoch(epoch);
  request.set_start_revision(revision_);
  auto opened = AssignmentCursor::Open(request, world.registry());
  if (!opened.ok()) {
    world.Fail("watch", absl::StrCat(node_, ": ", opened.status().ToString()));
    return false;
  }
  snapshot_.clear();
  cursor_.emplace(*std::move(opened));
  if (revision_ == 0) histories_.clear();
  uid_ = (*world.registry().nodes().Find(node_))->uid;
  if (revision_ != 0) histories_.push_back(WatchHistory{revision_, {}});
  epoch_ = epoch;
  process_ = world.restarts();
  return true;
}

void AssignmentWatcher::Record(const v1::WatchAssignmentsResponse& message) {
  if (message.snapshot()) {
    // What follows is sent after it.
    if (message.complete()) histories_.push_back(WatchHistory{message.revision(), {}});
    return;
  }
  WatchRecord record{message.revision(), message.complete(), message.progress(), {}};
  for (const auto& gone : message.unassigned()) {
    record.items.push_back(TrueEvents::Taken(gone.assembly(), gone.shard()));
  }
  for (const auto& given : message.assigned()) {
    record.items.push_back(
        TrueEvents::Given(given.assembly(), given.shard().index(), given.generation()));
  }
  histories_.back().messages.push_back(std::move(record));
}

void AssignmentWatcher::CheckPromises(World& world) const {
  const auto exists = [&](VersionUid version) {
    return world.registry().catalogue().FindByUid(version) != nullptr;
  };
  const std::string wrong = CheckWatches(histories_, world.TruthNow().OfNode(uid_, exists));
  if (!wrong.empty()) world.Fail("watch", absl::StrCat(node_, ": ", wrong));
}

bool AssignmentWatcher::Take(World& world, const v1::WatchAssignmentsResponse& message) {
  if (message.revision() < revision_ || (message.revision() == revision_ && !message.snapshot())) {
    world.Fail("watch",
               absl::StrCat(node_, ": revision ", message.revision(), " after ", revision_));
    return false;
  }
  if (message.revision() > world.registry().revision().value ||
      message.ByteSizeLong() > kMaxPageBytes ||
      message.assigned_size() + message.unassigned_size() > kMaxItemsPerCall) {
    world.Fail("watch", absl::StrCat(node_, ": a message beyond its bounds"));
    return false;
  }
  Record(message);
  Assignments& into = message.snapshot() ? snapshot_ : held_;
  for (const auto& gone : message.unassigned()) into.erase({gone.assembly(), gone.shard()});
  for (const auto& given : message.assigned()) {
    into[{given.assembly(), given.shard().index()}] = given.generation();
  }
  if (!message.complete()) return true;
  if (message.snapshot()) held_.swap(snapshot_);
  snapshot_.clear();
  revision_ = message.revision();
  return true;
}

void AssignmentWatcher::CheckAgainstSnapshot(World& world, uint64_t epoch) const {
  AssignmentWatcher fresh(node_);
  if (!fresh.Open(world, epoch)) return;
  v1::WatchAssignmentsResponse message;
  while (fresh.revision_ == 0) {
    const auto more = NextOf(world, *fresh.cursor_, message);
    if (!more.ok() || !*more) return world.Fail("watch", "a snapshot ends early");
    if (!fresh.Take(world, message)) return;
  }
  if (fresh.held_ != held_) {
    world.Fail("watch",
               absl::StrCat(node_, ": replayed ", held_.size(), " assignments at revision ",
                            revision_, ", a snapshot has ", fresh.held_.size()));
  }
}

void AssignmentWatcher::Read(World& world) {
  if (world.failed()) return;
  if (process_ != world.restarts()) cursor_.reset();
  const auto node = world.registry().nodes().Find(node_);
  if (!node.ok() && !cursor_.has_value()) return;
  const uint64_t epoch = node.ok() ? (*node)->epoch().value : 0;
  if (world.Chance(10)) cursor_.reset();
  if (!cursor_.has_value() && (!node.ok() || !Open(world, epoch))) return;
  v1::WatchAssignmentsResponse message;
  const bool to_the_end = world.Chance(70);
  do {
    const auto more = NextOf(world, *cursor_, message);
    if (!more.ok()) {
      cursor_.reset();
      const std::string reason = ReasonOf(more.status());
      if (reason == "REVISION_COMPACTED") revision_ = 0;
      if (reason == "REVISION_COMPACTED" ||
          (epoch != epoch_ && (reason == "NODE_FENCED" || reason == "NODE_UNKNOWN"))) {
        return;
      }
      return world.Fail("watch", absl::StrCat(node_, ": ", more.status().ToString()));
    }
    if (!*more) {
      if (epoch != epoch_) {
        return world.Fail("4", absl::StrCat(node_, ": the watch of an older epoch goes on"));
      }
      if (world.Chance(20)) {
        const auto note = cursor_->Progress(world.server().feed().durable());
        revision_ = note.revision();
        Record(note);
      }
      CheckAgainstSnapshot(world, epoch);
      return CheckPromises(world);
    }
    if (!Take(world, message)) return;
  } while (to_the_end);
}

bool AssemblyWatcher::Open(World& world, const Assembly& assembly) {
  if (assembly.uid() != uid_) revision_ = 0;
  v1::WatchAssemblyRequest request;
  request.set_name(assembly_);
  request.set_start_revision(revision_);
  auto opened = AssemblyCursor::Open(request, world.registry());
  if (!opened.ok()) {
    world.Fail("watch", opened.status().ToString());
    return false;
  }
  uid_ = assembly.uid();
  cursor_.emplace(*std::move(opened));
  process_ = world.restarts();
  if (revision_ == 0) histories_.clear();
  if (revision_ != 0) histories_.push_back(WatchHistory{revision_, {}});
  return true;
}

void AssemblyWatcher::Read(World& world) {
  if (world.failed()) return;
  if (process_ != world.restarts() || world.Chance(10)) cursor_.reset();
  const auto assembly = world.registry().assemblies().Find(assembly_);
  if (!cursor_.has_value() && (!assembly.ok() || !Open(world, **assembly))) return;
  AssemblyMessage packed;
  const bool to_the_end = world.Chance(70);
  do {
    const auto more = NextOf(world, *cursor_, packed);
    if (!more.ok()) {
      cursor_.reset();
      const std::string reason = ReasonOf(more.status());
      if (reason == "REVISION_COMPACTED") revision_ = 0;
      if (reason == "REVISION_COMPACTED" || reason == "ASSEMBLY_UNKNOWN") return;
      return world.Fail("watch", more.status().ToString());
    }
    if (!*more) break;
    const v1::WatchAssemblyResponse message = packed.Parsed();
    if (packed.shared == nullptr) {
      histories_.push_back(WatchHistory{message.revision(), {}});
    } else {
      // What was sent cannot be sent again: each event is a message of its own.
      histories_.back().messages.push_back(
          WatchRecord{message.revision(), true, false, {*packed.shared}});
    }
    revision_ = message.revision();
    last_ = message.assembly();
  } while (to_the_end);
  if (to_the_end && assembly.ok()) CheckAgainst(world, **assembly);
}

void AssemblyWatcher::CheckAgainst(World& world, const Assembly& assembly) {
  v1::Assembly present = world.registry().assemblies().Describe(assembly);
  present.clear_revision();
  last_.clear_revision();
  if (present.ShortDebugString() != last_.ShortDebugString()) {
    return world.Fail("watch", absl::StrCat(assembly_, ": replayed ", last_.ShortDebugString(),
                                            ", is ", present.ShortDebugString()));
  }
  if (world.Chance(20)) {
    const auto note = cursor_->Progress(world.server().feed().durable()).Parsed();
    revision_ = note.revision();
    histories_.back().messages.push_back(WatchRecord{note.revision(), false, true, {}});
  }
  const std::string wrong = CheckWatches(histories_, world.TruthNow().OfAssembly(uid_));
  if (!wrong.empty()) world.Fail("watch", absl::StrCat(assembly_, ": ", wrong));
}

bool EventsWatcher::Open(World& world) {
  v1::WatchEventsRequest request;
  request.set_start_revision(revision_);
  auto opened = EventsCursor::Open(request, world.registry());
  if (!opened.ok()) {
    world.Fail("watch", opened.status().ToString());
    return false;
  }
  cursor_.emplace(*std::move(opened));
  process_ = world.restarts();
  if (revision_ == 0) histories_.clear();
  histories_.push_back(
      WatchHistory{revision_ == 0 ? world.registry().revision().value : revision_, {}});
  return true;
}

void EventsWatcher::Record(const v1::WatchEventsResponse& message) {
  std::vector<WatchRecord>& records = histories_.back().messages;
  uint64_t last = 0;
  for (const v1::Event& event : message.events()) {
    if (event.revision() != last) {
      // Whatever is behind it in the message is of a later revision, so that this one is whole.
      if (last != 0) records.back().complete = true;
      records.push_back(WatchRecord{event.revision(), false, false, {}});
    }
    last = event.revision();
    records.back().items.push_back(event.SerializeAsString());
  }
  if (message.progress() || message.revision() > last) {
    if (last != 0) records.back().complete = true;
    records.push_back(WatchRecord{message.revision(), message.complete(), message.progress(), {}});
  } else {
    records.back().complete = message.complete();
  }
}

void EventsWatcher::Read(World& world) {
  if (world.failed()) return;
  if (process_ != world.restarts() || world.Chance(10)) cursor_.reset();
  if (!cursor_.has_value() && !Open(world)) return;
  v1::WatchEventsResponse message;
  while (true) {
    const auto more = NextOf(world, *cursor_, message);
    if (!more.ok()) {
      cursor_.reset();
      revision_ = 0;
      if (ReasonOf(more.status()) == "REVISION_COMPACTED") return;
      return world.Fail("watch", more.status().ToString());
    }
    if (!*more) break;
    Record(message);
    revision_ = SafeRevision(histories_.back());
  }
  const std::string wrong = CheckWatches(histories_, world.TruthNow().told());
  if (!wrong.empty()) world.Fail("watch", absl::StrCat("events: ", wrong));
}

}  // namespace muster
