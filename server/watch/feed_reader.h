// A place in the changes of one key: reads them from the feed's ring, and behind it from the event
// log.
//
// The log is in the store, which takes time. So a reader that is behind the ring says what it needs
// (LogSpan); whoever drives it has ReadLog read that where blocking is allowed, and hands the
// result over.
#ifndef MUSTER_SERVER_WATCH_FEED_READER_H_
#define MUSTER_SERVER_WATCH_FEED_READER_H_

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/registry/registry.h"
#include "server/watch/feed.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// What a cursor did.
enum class CursorStep {
  // It has filled a message.
  kMessage,
  // There is none: not until the feed has more, unless the cursor says that there may be more
  // already.
  kWait,
  // It is behind the ring: read its `log_span()` and Supply it.
  kReadLog,
};

// A part of the log that somebody needs: the key's changes with after < revision <= end.
struct LogSpan {
  FeedKey key;
  Revision after;
  Revision end;
};

// The first part of a span.
struct LogPart {
  std::vector<Feed::ChangePtr> changes;
  // Everything up to here was read.
  Revision upto;
};

// Reads a bounded part of a span; blocks. OUT_OF_RANGE REVISION_COMPACTED: changes of it are no
// longer kept.
absl::StatusOr<LogPart> ReadLog(MetadataStore& store, const LogSpan& span);

// Whether what was told under `history` still holds; "" is not checked. OUT_OF_RANGE HISTORY_CHANGED.
absl::Status CheckHistory(const std::string& history, const Registry& registry);

// Whether a watch can resume after `start`, which is of `history`; 0: it does not resume. As
// CheckHistory, and OUT_OF_RANGE REVISION_COMPACTED when it is beyond the newest; what is too old
// shows when it is read.
absl::Status CheckResume(const std::string& history, Revision start, const Registry& registry);

// The same for a watch that has a snapshot: also REVISION_COMPACTED when so much of the log lies behind
// `start` that the snapshot costs less. The log is one for all, so each of many watches that are far
// behind would read the events of the others, too.
absl::Status CheckResumeOrSnapshot(const std::string& history, Revision start,
                                   const Registry& registry);

// Fills the feed, before its first Publish, with what the event log has after `begin`; the store ends
// with `newest`. So watches that resume soon after a start need not read the log, each by itself.
absl::Status FillFeed(MetadataStore& store, Revision begin, Revision newest, Feed& feed);

// Not thread-safe.
class FeedReader {
 public:
  FeedReader(FeedKey key, Revision position) : key_(key), position_(position) {}

  // Fills in the changes of the next revision that has any. Never kMessage: `changes` is filled or
  // the step says why not.
  std::optional<CursorStep> Next(const Feed& feed, std::vector<Feed::ChangePtr>& changes);

  // After kReadLog.
  const LogSpan& log_span() const { return *span_; }
  void Supply(LogPart part);

  FeedKey key() const { return key_; }
  // Everything up to here was given out.
  Revision position() const { return position_; }
  // Where nothing has happened up to `revision`.
  void Skip(Revision revision);
  // More changes may be there already.
  bool more() const { return more_; }

 private:
  const FeedKey key_;
  Revision position_;
  bool more_ = true;
  std::optional<LogSpan> span_;
  // From the log.
  std::deque<Feed::ChangePtr> supplied_;
  Revision supplied_upto_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_WATCH_FEED_READER_H_
