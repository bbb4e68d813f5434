// A watcher of one assembly's states: the barrier.
#ifndef MUSTER_SERVER_WATCH_ASSEMBLY_CURSOR_H_
#define MUSTER_SERVER_WATCH_ASSEMBLY_CURSOR_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "muster/v1/assembly.pb.h"
#include "server/registry/registry.h"
#include "server/watch/feed.h"
#include "server/watch/feed_reader.h"

namespace muster {

// A serialised WatchAssemblyResponse, in two parts that follow one another.
struct AssemblyMessage {
  // The same for all who follow the assembly; null: it has none.
  std::shared_ptr<const std::string> shared;
  std::string own;

  muster::v1::WatchAssemblyResponse Parsed() const;
};

// Not thread-safe; every call runs under the registry's shared lock.
class AssemblyCursor {
 public:
  using Message = AssemblyMessage;

  // Checks the request: NOT_FOUND ASSEMBLY_UNKNOWN, INVALID_ARGUMENT, OUT_OF_RANGE
  // REVISION_COMPACTED.
  static absl::StatusOr<AssemblyCursor> Open(const muster::v1::WatchAssemblyRequest& request,
                                             const Registry& registry);

  // Fills the next message. An error ends the watch.
  absl::StatusOr<CursorStep> Next(const Registry& registry, const Feed& feed, Message& message);

  // After kWait: a message that says that nothing has happened up to `durable`, which is a revision
  // that the feed had before.
  Message Progress(Revision durable);

  // The state that was waited for has been sent.
  bool reached() const { return reached_; }

  FeedReader& reader() { return reader_; }
  // Another message may be there already.
  bool more() const { return !begun_ || reader_.more(); }

 private:
  AssemblyCursor(const muster::v1::WatchAssemblyRequest& request, AssemblyUid assembly,
                 Revision position)
      : request_(request), assembly_(assembly), reader_(KeyOf(assembly), position) {}

  absl::Status Deleted() const;
  // Takes over what the changes say of the member asked for.
  void NoteMember(const std::vector<Feed::ChangePtr>& changes, const Assembly* present);
  void Finish(muster::v1::Assembly::State state, Message& message);

  muster::v1::WatchAssemblyRequest request_;
  AssemblyUid assembly_;
  FeedReader reader_;
  // The present state was sent, or the watch resumes after a revision.
  bool begun_ = false;
  // For the first message; "" after it.
  std::string untold_history_;
  bool reached_ = false;
  // The node asked for, as last seen.
  std::optional<muster::v1::AssemblyMember> member_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_WATCH_ASSEMBLY_CURSOR_H_
