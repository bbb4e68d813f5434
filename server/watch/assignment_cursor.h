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

namespace muster {

// Not thread-safe; every call runs under the registry's shared lock.
class AssignmentCursor {
 public:
  // Checks the request: NOT_FOUND NODE_UNKNOWN, ABORTED NODE_FENCED, INVALID_ARGUMENT, OUT_OF_RANGE
  // REVISION_COMPACTED.
  static absl::StatusOr<AssignmentCursor> Open(const muster::v1::WatchAssignmentsRequest& request,
                                               const Registry& registry, const Feed& feed);

  // Fills the next message; false when there is none until the feed has more. An error ends the
  // watch.
  absl::StatusOr<bool> Next(const Registry& registry, const Feed& feed,
                            muster::v1::WatchAssignmentsResponse& message);

  // What to subscribe to.
  FeedKey key() const { return KeyOf(node_); }

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

  AssignmentCursor(std::string name, NodeUid node, Epoch epoch)
      : name_(std::move(name)), node_(node), epoch_(epoch) {}

  void TakeSnapshot(const Node& node, const Registry& registry);
  absl::Status TakeEvents(const std::vector<Feed::EventPtr>& events);
  void FillFromPending(const Registry& registry, muster::v1::WatchAssignmentsResponse& message);

  std::string name_;
  NodeUid node_;
  Epoch epoch_;
  // Everything up to here was sent, or is pending.
  Revision position_;
  bool in_snapshot_ = false;
  std::deque<Pending> pending_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_WATCH_ASSIGNMENT_CURSOR_H_
