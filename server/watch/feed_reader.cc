#include "server/watch/feed_reader.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "muster/store/rows.pb.h"
#include "server/registry/event_rows.h"
#include "server/registry/row_keys.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// A row has up to 128 KiB.
constexpr size_t kRowsPerScan = 64;
// A part ends with the first revision beyond this many rows, their bytes, or changes.
constexpr size_t kRowsPerPart = 1'024;
constexpr size_t kBytesPerPart = 1u << 20;
constexpr size_t kChangesPerPart = 32;

absl::Status Compacted(Revision after, Revision compacted) {
  return MakeError(
      absl::StatusCode::kOutOfRange, reasons::kRevisionCompacted,
      absl::StrCat("revision ", after.value, " is too old to resume from: the oldest is ",
                   compacted.value, "; start from a snapshot"),
      {{"revision", absl::StrCat(after.value)},
       {"compact_revision", absl::StrCat(compacted.value)}});
}

bool Concerns(FeedKey key, const store::EventRow& row) {
  switch (key.kind) {
    case FeedKey::Kind::kNode:
      return row.node_uid() == key.uid;
    case FeedKey::Kind::kAssembly:
      return row.about() == store::EventRow::ASSEMBLY && row.assembly_uid() == key.uid;
    default:
      return false;
  }
}

absl::Status AppendChanges(FeedKey key, Revision revision, std::string row,
                           std::vector<Feed::ChangePtr>& out) {
  std::vector<Change> changes;
  if (key.kind == FeedKey::Kind::kLog) {
    Change& change = changes.emplace_back();
    change.revision = revision;
    change.what.emplace<StoredEvents>(StoredEvents{std::move(row)});
  } else {
    const absl::Status status = UnpackWatched(
        revision, row, [key](const store::EventRow& one) { return Concerns(key, one); }, changes);
    if (absl::IsOutOfRange(status)) return Compacted(Revision(revision.value - 1), revision);
    MUSTER_RETURN_IF_ERROR(status);
  }
  for (Change& change : changes) out.push_back(std::make_shared<const Change>(std::move(change)));
  return absl::OkStatus();
}

absl::StatusOr<Revision> CompactedIn(MetadataStore& store) {
  const absl::StatusOr<std::string> packed = store.Get(EventLogKey());
  store::EventLogRow row;
  if (packed.ok() && row.ParseFromString(*packed)) return Revision(row.compact_revision());
  if (!packed.ok() && !absl::IsNotFound(packed.status())) return packed.status();
  // A store that no event was logged in yet.
  return Revision(UINT64_MAX);
}

}  // namespace

absl::StatusOr<LogPart> ReadLog(MetadataStore& store, const LogSpan& span) {
  LogPart part;
  part.upto = span.after;
  std::string begin = EventsKey(Revision(span.after.value + 1), 0);
  const std::string end = EventsKey(Revision(span.end.value + 1), 0);
  size_t rows_read = 0, bytes_read = 0;
  bool finished = false;
  while (!finished) {
    MUSTER_ASSIGN_OR_RETURN(std::vector<MetadataStore::Row> rows,
                            store.Scan(begin, end, kRowsPerScan));
    for (MetadataStore::Row& row : rows) {
      const std::optional<Revision> revision = ParseEventsKey(row.key);
      if (!revision.has_value()) return absl::DataLossError("an event row's key can't be read");
      // Whole revisions only.
      if (*revision != part.upto && (rows_read >= kRowsPerPart || bytes_read >= kBytesPerPart ||
                                     part.changes.size() >= kChangesPerPart)) {
        finished = true;
        break;
      }
      bytes_read += row.value.size();
      MUSTER_RETURN_IF_ERROR(
          AppendChanges(span.key, *revision, std::move(row.value), part.changes));
      part.upto = *revision;
      ++rows_read;
    }
    if (finished) break;
    if (rows.size() < kRowsPerScan) {
      part.upto = span.end;
      break;
    }
    begin = rows.back().key + '\0';
  }
  // Asked last: what was cut off while it was read may be missing.
  MUSTER_ASSIGN_OR_RETURN(const Revision compacted, CompactedIn(store));
  if (span.after < compacted) {
    return Compacted(span.after, std::min(compacted, span.end));
  }
  return part;
}

absl::Status CheckHistory(const std::string& history, const Registry& registry) {
  if (history.empty() || history == registry.history_id()) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kOutOfRange, reasons::kHistoryChanged,
      absl::StrCat("history ", QuoteForMessage(history), " is not the server's, ",
                   registry.history_id(),
                   ": a backup was restored, or a loss accepted; start from what is there now"),
      {{"history_id", registry.history_id()}});
}

absl::Status CheckResume(const std::string& history, Revision start, const Registry& registry) {
  if (start.value == 0) return absl::OkStatus();
  MUSTER_RETURN_IF_ERROR(CheckHistory(history, registry));
  const Revision newest = registry.revision();
  if (start <= newest) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kOutOfRange, reasons::kRevisionCompacted,
      absl::StrCat("revision ", start.value, " is beyond the newest, ", newest.value,
                   "; start from a snapshot"),
      {{"revision", absl::StrCat(start.value)}, {"compact_revision", absl::StrCat(newest.value)}});
}

absl::Status CheckResumeOrSnapshot(const std::string& history, Revision start,
                                   const Registry& registry) {
  MUSTER_RETURN_IF_ERROR(CheckResume(history, start, registry));
  if (start.value == 0 || !registry.event_log().IsFarBehind(start)) return absl::OkStatus();
  return Compacted(start, registry.event_log().TailBegin());
}

absl::Status FillFeed(MetadataStore& store, Revision begin, Revision newest, Feed& feed) {
  std::vector<Change> changes;
  std::string from = EventsKey(Revision(begin.value + 1), 0);
  const std::string end = EventsKey(Revision(newest.value + 1), 0);
  while (true) {
    MUSTER_ASSIGN_OR_RETURN(std::vector<MetadataStore::Row> rows,
                            store.Scan(from, end, kRowsPerScan));
    for (MetadataStore::Row& row : rows) {
      const std::optional<Revision> revision = ParseEventsKey(row.key);
      if (!revision.has_value()) return absl::DataLossError("an event row's key can't be read");
      const absl::Status status = UnpackWatched(
          *revision, row.value, [](const store::EventRow&) { return true; }, changes);
      if (absl::IsOutOfRange(status)) {
        // What it changed can't be read again: the feed begins behind it.
        changes.clear();
        begin = *revision;
        continue;
      }
      MUSTER_RETURN_IF_ERROR(status);
      Change& told = changes.emplace_back();
      told.revision = *revision;
      told.what.emplace<StoredEvents>(StoredEvents{std::move(row.value)});
    }
    if (rows.size() < kRowsPerScan) break;
    from = rows.back().key + '\0';
  }
  feed.Start(begin);
  feed.Publish(std::move(changes), newest);
  return absl::OkStatus();
}

// 1. What was read from the log comes first, one revision at a time.
// 2. Then the position skips to where that part of the log ended: there was nothing for the key
//    between its last change and there.
// 3. Then the ring. If it no longer reaches back to the position, the log has to be read up to
//    where it does (span_), off this thread; Supply brings the part, and this begins again. As the
//    ring moves on meanwhile, there may be several such rounds.
std::optional<CursorStep> FeedReader::Next(const Feed& feed,
                                           std::vector<Feed::ChangePtr>& changes) {
  changes.clear();
  if (!supplied_.empty()) {
    position_ = supplied_.front()->revision;
    while (!supplied_.empty() && supplied_.front()->revision == position_) {
      changes.push_back(std::move(supplied_.front()));
      supplied_.pop_front();
    }
    more_ = true;
    return std::nullopt;
  }
  Skip(supplied_upto_);
  Feed::Found found = feed.Read(key_, position_, 1);
  more_ = found.more;
  if (found.behind.has_value()) {
    span_ = LogSpan{key_, position_, *found.behind};
    return CursorStep::kReadLog;
  }
  if (found.changes.empty()) return CursorStep::kWait;
  changes = std::move(found.changes);
  position_ = changes.back()->revision;
  return std::nullopt;
}

void FeedReader::Supply(LogPart part) {
  supplied_.assign(part.changes.begin(), part.changes.end());
  supplied_upto_ = part.upto;
  span_.reset();
}

void FeedReader::Skip(Revision revision) { position_ = std::max(position_, revision); }

}  // namespace muster
