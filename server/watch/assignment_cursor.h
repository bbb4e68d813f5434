// A watcher of one node's assignments: where it is, and what it gets next.
#ifndef MUSTER_SERVER_WATCH_ASSIGNMENT_CURSOR_H_
#define MUSTER_SERVER_WATCH_ASSIGNMENT_CURSOR_H_

#include <cstddef>
#include <deque>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "muster/v1/assembly.pb.h"
#include "server/registry/registry.h"
#include "server/watch/feed.h"
#include "server/watch/feed_reader.h"

namespace muster {

// Not thread-safe; every call runs under the registry's shared lock.
class AssignmentCursor {
 public:
  using Message = muster::v1::WatchAssignmentsResponse;

  // Checks the request: NOT_FOUND NODE_UNKNOWN, ABORTED NODE_FENCED, INVALID_ARGUMENT, OUT_OF_RANGE
  // REVISION_COMPACTED, HISTORY_CHANGED.
  static absl::StatusOr<AssignmentCursor> Open(const muster::v1::WatchAssignmentsRequest& request,
                                               const Registry& registry);

  // Fills the next message. An error ends the watch.
  absl::StatusOr<CursorStep> Next(const Registry& registry, const Feed& feed, Message& message);

  // After kWait: a message that says that nothing has happened up to `durable`, which is a revision
  // that the feed had before.
  Message Progress(Revision durable);

  FeedReader& reader() { return reader_; }
  // Another message may be there already.
  bool more() const { return in_snapshot_ || !pending_.empty() || reader_.more(); }

 private:
  // A run of one assembly's changes that is still to be sent.
  struct Pending {
    std::string assembly;
    VersionUid version;
    std::vector<Assignment> assigned;
    std::vector<uint32_t> unassigned;
    size_t next_assigned = 0;
    size_t next_unassigned = 0;
  };

  AssignmentCursor(std::string name, NodeUid node, Epoch epoch, Revision position)
      : name_(std::move(name)), epoch_(epoch), reader_(KeyOf(node), position) {}

  void TakeSnapshot(const Node& node, const Registry& registry);
  absl::Status TakeChanges(const std::vector<Feed::ChangePtr>& changes);
  void FillFromPending(const Registry& registry, muster::v1::WatchAssignmentsResponse& message);

  std::string name_;
  Epoch epoch_;
  // For the first message; "" after it.
  std::string untold_history_;
  // Everything up to its position was sent, or is pending.
  FeedReader reader_;
  bool in_snapshot_ = false;
  std::deque<Pending> pending_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_WATCH_ASSIGNMENT_CURSOR_H_
