// A cursor turns changes into messages in two stages, since a change may be larger than a message:
//
// 1. pending_ gets the runs of one revision, or of the snapshot, which has the revision of Open.
// 2. FillFromPending moves items from there into a message until it is full. The message that
//    empties pending_ says `complete`: only then may a client resume from its revision.
//
// The next revision is read only once pending_ is empty. So reader_.position() is the revision of
// what is pending, and a message never mixes two.
#include "server/watch/assignment_cursor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/node_errors.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace muster {

namespace v1 = muster::v1;

absl::StatusOr<AssignmentCursor> AssignmentCursor::Open(const v1::WatchAssignmentsRequest& request,
                                                        const Registry& registry) {
  if (!request.has_epoch()) return InvalidField("epoch", "", "required");
  // Before the epoch, which is of that history, too.
  MUSTER_RETURN_IF_ERROR(CheckHistory(request.history_id(), registry));
  MUSTER_ASSIGN_OR_RETURN(const Node* node, registry.nodes().Find(request.node()));
  const Epoch epoch(request.epoch());
  if (epoch != node->epoch()) return WrongEpoch(request.node(), epoch, node->epoch());
  const Revision start(request.start_revision());
  MUSTER_RETURN_IF_ERROR(CheckResumeOrSnapshot(request.history_id(), start, registry));
  const bool resumes = start.value != 0;
  AssignmentCursor cursor(request.node(), node->uid, epoch, resumes ? start : registry.revision());
  cursor.untold_history_ = registry.history_id();
  if (!resumes) cursor.TakeSnapshot(*node, registry);
  return cursor;
}

void AssignmentCursor::TakeSnapshot(const Node& node, const Registry& registry) {
  in_snapshot_ = true;
  for (const AssemblyUid uid : node.memberships) {
    const Assembly& assembly = *registry.assemblies().FindByUid(uid);
    const Assembly::Member& member = *assembly.FindMember(name_);
    if (member.assignments.empty()) continue;
    pending_.push_back(
        Pending{assembly.name(), assembly.version().uid, member.assignments, {}, 0, 0});
  }
}

absl::Status AssignmentCursor::TakeChanges(const std::vector<Feed::ChangePtr>& changes) {
  for (const Feed::ChangePtr& change : changes) {
    if (const auto* node = std::get_if<NodeChange>(&change->what)) {
      if (node->removed) return NodeUnknown(name_);
      // A resumed watch also reads what happened under older epochs.
      if (node->epoch > epoch_) return NodeFenced(name_, epoch_, node->epoch);
    } else if (const auto* given = std::get_if<AssignmentChange>(&change->what)) {
      pending_.push_back(
          Pending{given->assembly, given->version, given->assigned, given->unassigned, 0, 0});
    }
  }
  return absl::OkStatus();
}

void AssignmentCursor::FillFromPending(const Registry& registry,
                                       v1::WatchAssignmentsResponse& message) {
  size_t items = 0;
  size_t bytes = 0;
  while (!pending_.empty() && items < kMaxItemsPerCall &&
         bytes < kMaxPageBytes - kMaxPageBytes / 8) {
    Pending& run = pending_.front();
    if (run.next_unassigned < run.unassigned.size()) {
      v1::UnassignedShard* gone = message.add_unassigned();
      gone->set_assembly(run.assembly);
      gone->set_shard(run.unassigned[run.next_unassigned++]);
      bytes += gone->ByteSizeLong();
      ++items;
    } else if (run.next_assigned < run.assigned.size()) {
      const Assignment& assignment = run.assigned[run.next_assigned++];
      // A version that is gone by now took its assemblies with it; the change that says so follows.
      const Version* version = registry.catalogue().FindByUid(run.version);
      if (version == nullptr) continue;
      v1::AssignedShard* shard = message.add_assigned();
      shard->set_assembly(run.assembly);
      shard->set_generation(assignment.generation.value);
      *shard->mutable_shard() = registry.catalogue().DescribeShard(*version, assignment.shard);
      bytes += shard->ByteSizeLong();
      ++items;
    } else {
      pending_.pop_front();
    }
  }
  // Runs without a rest go now, or the message could not say that it is the last.
  while (!pending_.empty() &&
         pending_.front().next_unassigned == pending_.front().unassigned.size() &&
         pending_.front().next_assigned == pending_.front().assigned.size()) {
    pending_.pop_front();
  }
}

absl::StatusOr<CursorStep> AssignmentCursor::Next(const Registry& registry, const Feed& feed,
                                                  Message& message) {
  message.Clear();
  std::vector<Feed::ChangePtr> changes;
  while (pending_.empty() && !in_snapshot_) {
    // One revision at a time: its changes stay together, and the message says which it was.
    if (const auto step = reader_.Next(feed, changes)) return *step;
    MUSTER_RETURN_IF_ERROR(TakeChanges(changes));
  }
  FillFromPending(registry, message);
  message.set_revision(reader_.position().value);
  message.set_snapshot(in_snapshot_);
  message.set_complete(pending_.empty());
  message.set_history_id(std::exchange(untold_history_, ""));
  if (pending_.empty()) in_snapshot_ = false;
  return CursorStep::kMessage;
}

AssignmentCursor::Message AssignmentCursor::Progress(Revision durable) {
  reader_.Skip(durable);
  Message message;
  message.set_revision(reader_.position().value);
  message.set_progress(true);
  message.set_history_id(std::exchange(untold_history_, ""));
  return message;
}

}  // namespace muster
