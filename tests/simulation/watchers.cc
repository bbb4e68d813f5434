#include "tests/simulation/watchers.h"

#include "absl/strings/str_cat.h"
#include "server/registry/limits.h"
#include "storage/base/error_info.h"

namespace muster {

namespace v1 = muster::v1;

bool AssignmentWatcher::Open(World& world, uint64_t epoch) {
  if (epoch != epoch_) revision_ = 0;
  v1::WatchAssignmentsRequest request;
  request.set_node(node_);
  request.set_epoch(epoch);
  request.set_start_revision(revision_);
  auto opened = AssignmentCursor::Open(request, world.registry(), world.server().feed());
  if (!opened.ok() && ReasonOf(opened.status()) == "REVISION_COMPACTED") {
    if (revision_ > world.registry().revision().value) {
      world.Fail("1", absl::StrCat(node_, " was told of revision ", revision_,
                                   ", which the server does not know"));
      return false;
    }
    revision_ = 0;
    request.set_start_revision(0);
    opened = AssignmentCursor::Open(request, world.registry(), world.server().feed());
  }
  if (!opened.ok()) {
    world.Fail("watch", absl::StrCat(node_, ": ", opened.status().ToString()));
    return false;
  }
  snapshot_.clear();
  cursor_.emplace(*std::move(opened));
  epoch_ = epoch;
  process_ = world.restarts();
  return true;
}

bool AssignmentWatcher::Take(World& world, const v1::WatchAssignmentsResponse& message) {
  if (message.revision() < revision_ || (message.revision() == revision_ && !message.snapshot())) {
    world.Fail("watch",
               absl::StrCat(node_, ": revision ", message.revision(), " after ", revision_));
    return false;
  }
  if (message.revision() > world.registry().revision().value ||
      message.ByteSizeLong() > kMaxPageBytes ||
      message.assigned_size() + message.unassigned_size() > static_cast<int>(kMaxItemsPerCall)) {
    world.Fail("watch", absl::StrCat(node_, ": a message beyond its bounds"));
    return false;
  }
  Assignments& into = message.snapshot() ? snapshot_ : held_;
  for (const auto& gone : message.unassigned()) {
    if (into.erase({gone.assembly(), gone.shard()}) == 0) {
      world.Fail("watch", absl::StrCat(node_, ": shard ", gone.shard(), " of ", gone.assembly(),
                                       " taken away that was never given"));
      return false;
    }
  }
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
    const auto more = fresh.cursor_->Next(world.registry(), world.server().feed(), message);
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
    const auto more = cursor_->Next(world.registry(), world.server().feed(), message);
    if (!more.ok()) {
      cursor_.reset();
      const std::string reason = ReasonOf(more.status());
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
      return CheckAgainstSnapshot(world, epoch);
    }
    if (!Take(world, message)) return;
  } while (to_the_end);
}

void AssemblyWatcher::Read(World& world) {
  if (world.failed()) return;
  if (process_ != world.restarts() || world.Chance(10)) cursor_.reset();
  const auto assembly = world.registry().assemblies().Find(assembly_);
  if (!cursor_.has_value()) {
    if (!assembly.ok()) return;
    v1::WatchAssemblyRequest request;
    request.set_name(assembly_);
    const std::string uid = world.registry().assemblies().Describe(**assembly).uid();
    if (uid == uid_) request.set_start_revision(revision_);
    uid_ = uid;
    auto opened = AssemblyCursor::Open(request, world.registry(), world.server().feed());
    if (!opened.ok() && ReasonOf(opened.status()) == "REVISION_COMPACTED") {
      request.set_start_revision(0);
      opened = AssemblyCursor::Open(request, world.registry(), world.server().feed());
    }
    if (!opened.ok()) return world.Fail("watch", opened.status().ToString());
    if (request.start_revision() == 0) revision_ = 0;
    cursor_.emplace(*std::move(opened));
    process_ = world.restarts();
  }
  v1::WatchAssemblyResponse message;
  const bool to_the_end = world.Chance(70);
  do {
    const auto more = cursor_->Next(world.registry(), world.server().feed(), message);
    if (!more.ok()) {
      cursor_.reset();
      const std::string reason = ReasonOf(more.status());
      if (reason == "REVISION_COMPACTED" || reason == "ASSEMBLY_UNKNOWN") return;
      return world.Fail("watch", more.status().ToString());
    }
    if (!*more) break;
    if (message.revision() <= revision_) {
      return world.Fail("watch", absl::StrCat(assembly_, ": revision ", message.revision(),
                                              " after ", revision_));
    }
    revision_ = message.revision();
    last_ = message.assembly();
  } while (to_the_end);
  if (!to_the_end || !assembly.ok()) return;
  v1::Assembly present = world.registry().assemblies().Describe(**assembly);
  present.clear_revision();
  last_.clear_revision();
  if (present.SerializeAsString() != last_.SerializeAsString()) {
    world.Fail("watch", absl::StrCat(assembly_, ": replayed ", last_.ShortDebugString(), ", is ",
                                     present.ShortDebugString()));
  }
}

}  // namespace muster
