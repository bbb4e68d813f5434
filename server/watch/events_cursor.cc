#include "server/watch/events_cursor.h"

#include <optional>
#include <utility>
#include <vector>

#include "server/registry/event_rows.h"
#include "server/registry/validation.h"
#include "server/watch/event_filter.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace muster {

namespace v1 = muster::v1;

namespace {

// Revisions that one step looks at.
constexpr int kRevisionsPerStep = 256;

}  // namespace

absl::StatusOr<EventsCursor> EventsCursor::Open(const v1::WatchEventsRequest& request,
                                                const Registry& registry) {
  MUSTER_RETURN_IF_ERROR(CheckEventFilter(request.filter()));
  const Revision start(request.start_revision());
  MUSTER_RETURN_IF_ERROR(CheckResume(request.history_id(), start, registry));
  EventsCursor cursor(request, start.value == 0 ? registry.revision() : start);
  cursor.begun_ = start.value != 0;
  cursor.untold_history_ = registry.history_id();
  return cursor;
}

absl::Status EventsCursor::TakeChanges(const std::vector<Feed::ChangePtr>& changes) {
  for (const Feed::ChangePtr& change : changes) {
    MUSTER_ASSIGN_OR_RETURN(std::vector<v1::Event> told,
                            UnpackTold(change->revision, std::get<StoredEvents>(change->what).row));
    for (v1::Event& one : told) {
      if (Matches(filter_, one)) pending_.push_back(std::move(one));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<CursorStep> EventsCursor::Next(const Registry&, const Feed& feed, Message& message) {
  message.Clear();
  if (!begun_) {
    begun_ = true;
    message = Progress(reader_.position());
    return CursorStep::kMessage;
  }
  // A message takes events of many revisions, unlike other watches: with a filter, most revisions
  // have none that matches. The steps are bounded, so that a filter that matches nothing does not
  // hold the thread.
  std::optional<CursorStep> step;
  std::vector<Feed::ChangePtr> changes;
  for (int i = 0; i < kRevisionsPerStep && pending_.size() < kMaxItemsPerCall; ++i) {
    step = reader_.Next(feed, changes);
    if (step.has_value()) break;
    MUSTER_RETURN_IF_ERROR(TakeChanges(changes));
  }
  if (pending_.empty()) {
    // Nothing of what was looked at matches, and there is more: others have their turn first.
    return step.value_or(CursorStep::kWait);
  }
  size_t bytes = 0;
  while (!pending_.empty() && message.events_size() < kMaxItemsPerCall) {
    bytes += pending_.front().ByteSizeLong() + 8;
    if (bytes > kMaxPageBytes && message.events_size() > 0) break;
    message.add_events()->Swap(&pending_.front());
    pending_.pop_front();
  }
  // With events left, the revision is that of the last event sent, and it is complete only if the
  // next event is of another one.
  const bool all = pending_.empty();
  message.set_revision(all ? reader_.position().value : message.events().rbegin()->revision());
  message.set_complete(all || pending_.front().revision() != message.revision());
  message.set_history_id(std::exchange(untold_history_, ""));
  return CursorStep::kMessage;
}

EventsCursor::Message EventsCursor::Progress(Revision durable) {
  reader_.Skip(durable);
  Message message;
  message.set_revision(reader_.position().value);
  message.set_progress(true);
  message.set_history_id(std::exchange(untold_history_, ""));
  return message;
}

}  // namespace muster
