// A watcher of one assembly's states: the barrier.
#ifndef MUSTER_SERVER_WATCH_ASSEMBLY_CURSOR_H_
#define MUSTER_SERVER_WATCH_ASSEMBLY_CURSOR_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "muster/v1/assembly.pb.h"
#include "server/registry/registry.h"
#include "server/watch/feed.h"

namespace muster {

// Not thread-safe; every call runs under the registry's shared lock.
class AssemblyCursor {
 public:
  // Checks the request: NOT_FOUND ASSEMBLY_UNKNOWN, INVALID_ARGUMENT, OUT_OF_RANGE
  // REVISION_COMPACTED.
  static absl::StatusOr<AssemblyCursor> Open(const muster::v1::WatchAssemblyRequest& request,
                                             const Registry& registry, const Feed& feed);

  // Fills the next message; false when there is none until the feed has more. An error ends the
  // watch.
  absl::StatusOr<bool> Next(const Registry& registry, const Feed& feed,
                            muster::v1::WatchAssemblyResponse& message);

  // The state that was waited for has been sent.
  bool reached() const { return reached_; }

  // What to subscribe to.
  FeedKey key() const { return KeyOf(assembly_); }

 private:
  AssemblyCursor(const muster::v1::WatchAssemblyRequest& request, AssemblyUid assembly)
      : request_(request), assembly_(assembly) {}

  absl::Status Deleted() const;
  void Fill(const muster::v1::Assembly& assembly, Revision revision,
            muster::v1::WatchAssemblyResponse& message);

  muster::v1::WatchAssemblyRequest request_;
  AssemblyUid assembly_;
  Revision position_;
  // The present state was sent, or the watch resumes after a revision.
  bool begun_ = false;
  bool reached_ = false;
  // The node asked for, as last seen.
  std::optional<muster::v1::AssemblyMember> member_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_WATCH_ASSEMBLY_CURSOR_H_
