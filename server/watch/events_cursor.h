// A watcher of the events in the event log.
#ifndef MUSTER_SERVER_WATCH_EVENTS_CURSOR_H_
#define MUSTER_SERVER_WATCH_EVENTS_CURSOR_H_

#include <cstddef>
#include <deque>
#include <string>

#include "absl/status/statusor.h"
#include "muster/v1/event.pb.h"
#include "server/registry/registry.h"
#include "server/watch/feed.h"
#include "server/watch/feed_reader.h"

namespace muster {

// Not thread-safe.
class EventsCursor {
 public:
  using Message = muster::v1::WatchEventsResponse;

  // Checks the request: INVALID_ARGUMENT, OUT_OF_RANGE REVISION_COMPACTED.
  static absl::StatusOr<EventsCursor> Open(const muster::v1::WatchEventsRequest& request,
                                           const Registry& registry);

  // Fills the next message. A watch from now on begins with a progress message, which says where
  // that is. An error ends the watch.
  absl::StatusOr<CursorStep> Next(const Registry& registry, const Feed& feed, Message& message);

  // After kWait: a message that says that nothing has happened up to `durable`, which is a revision
  // that the feed had before.
  Message Progress(Revision durable);

  FeedReader& reader() { return reader_; }
  // Another message may be there already.
  bool more() const { return !begun_ || !pending_.empty() || reader_.more(); }

 private:
  EventsCursor(const muster::v1::WatchEventsRequest& request, Revision position)
      : filter_(request.filter()), reader_(KeyOfLog(), position) {}

  absl::Status TakeChanges(const std::vector<Feed::ChangePtr>& changes);

  const muster::v1::EventFilter filter_;
  FeedReader reader_;
  bool begun_ = false;
  // For the first message; "" after it.
  std::string untold_history_;
  // Matching events that are still to be sent, of whole revisions.
  std::deque<muster::v1::Event> pending_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_WATCH_EVENTS_CURSOR_H_
