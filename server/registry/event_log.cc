#include "server/registry/event_log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/event_rows.h"
#include "server/registry/limits.h"
#include "server/registry/row_keys.h"

namespace muster {
namespace {

// Of what is kept, a run is this part, so that the log is that much longer than asked for at most.
constexpr uint64_t kRunsKept = 64;
// What a restart reads of the open run, at most.
constexpr uint64_t kMaxRunEvents = 4'096;
constexpr uint64_t kMaxRunBytes = 4u << 20;
// A store without range deletes has to remove the rows one by one.
constexpr size_t kMaxRunsPerTick = 16;
// With the open one.
constexpr size_t kRunsOfTail = 3;
constexpr uint64_t kFarEvents = 10'000;
constexpr uint64_t kFarBytes = 16u << 20;
// The head, a run's row and the revision's may come on top of the events.
constexpr size_t kOwnRows = 3;
constexpr size_t kOwnBytes = 768;
constexpr size_t kKeyBytes = 13;

}  // namespace

void EventLog::Append(Transaction& tx) {
  if (tx.changes().empty() && tx.told().empty()) return;
  if (!head_stored_) {
    store::EventLogRow head;
    head.set_compact_revision(compacted_.value);
    tx.Put(EventLogKey(), head);
    head_stored_ = true;
  }
  const size_t rows_used = tx.row_count() + kOwnRows;
  const size_t bytes_used = tx.bytes() + kOwnBytes;
  const size_t rows_max = rows_used < kMaxRowsPerCommand ? kMaxRowsPerCommand - rows_used : 1;
  const size_t bytes_max = bytes_used < kMaxBytesPerCommand ? kMaxBytesPerCommand - bytes_used : 0;
  uint32_t part = 0;
  for (PackedEvents& packed :
       PackEvents(tx.TakeTold(), tx.changes(), {tx.wall_us(), tx.now_us(), tx.cause(), tx.actor()}, rows_max,
                  bytes_max)) {
    Count(tx.revision(), packed.told, kKeyBytes + packed.row.size(), tx.now_us());
    tx.Put(EventsKey(tx.revision(), part++), packed.row);
    if (packed.told > 0) tx.Emit(StoredEvents{std::move(packed.row)});
  }
  if (IsFull(open_)) CloseRun(tx);
}

void EventLog::Count(Revision revision, uint64_t events, uint64_t bytes, int64_t time_us) {
  if (open_.bytes == 0) open_.first_time_us = time_us;
  open_.last = revision;
  open_.last_time_us = time_us;
  open_.events += events;
  open_.bytes += bytes;
  events_ += events;
  bytes_ += bytes;
}

bool EventLog::IsFull(const Run& run) const {
  return run.events >= std::clamp<uint64_t>(options_.max_events / kRunsKept, 1, kMaxRunEvents) ||
         run.bytes >= kMaxRunBytes;
}

void EventLog::CloseRun(Transaction& tx) {
  store::EventRunRow row;
  row.set_events(open_.events);
  row.set_bytes(open_.bytes);
  row.set_last_time_us(open_.last_time_us);
  tx.Put(EventRunKey(open_.last), row);
  runs_.push_back(std::exchange(open_, Run{}));
}

void EventLog::Tick(Transaction& tx) {
  const int64_t run_age_us = options_.max_age_us / static_cast<int64_t>(kRunsKept);
  if (open_.bytes > 0 && tx.now_us() - open_.first_time_us > run_age_us) CloseRun(tx);
  const Revision before = compacted_;
  for (size_t dropped = 0; dropped < kMaxRunsPerTick && !runs_.empty(); ++dropped) {
    const Run& oldest = runs_.front();
    if (events_ <= options_.max_events && bytes_ <= options_.max_bytes &&
        tx.now_us() - oldest.last_time_us <= options_.max_age_us) {
      break;
    }
    compacted_ = oldest.last;
    tx.Delete(EventRunKey(oldest.last));
    events_ -= oldest.events;
    bytes_ -= oldest.bytes;
    runs_.pop_front();
  }
  if (compacted_ == before) return;
  // From where the last range ended: ranges that all begin at the same key cost a store the square of their
  // number in memory, until it has tidied up.
  tx.DeleteRange(EventsKey(Revision(before.value + 1), 0),
                 EventsKey(Revision(compacted_.value + 1), 0));
  store::EventLogRow head;
  head.set_compact_revision(compacted_.value);
  tx.Put(EventLogKey(), head);
  head_stored_ = true;
}

std::vector<Revision> EventLog::Entries() const {
  std::vector<Revision> out;
  out.reserve(runs_.size());
  for (const Run& run : runs_) out.push_back(run.last);
  return out;
}

Revision EventLog::TailBegin() const {
  return runs_.size() < kRunsOfTail ? compacted_ : runs_[runs_.size() - kRunsOfTail].last;
}

bool EventLog::IsFarBehind(Revision revision) const {
  uint64_t events = open_.events, bytes = open_.bytes;
  // Runs that lie behind it as a whole.
  for (size_t i = runs_.size(); i > 0 && events <= kFarEvents && bytes <= kFarBytes; --i) {
    const Revision before = i == 1 ? compacted_ : runs_[i - 2].last;
    if (before < revision) break;
    events += runs_[i - 1].events;
    bytes += runs_[i - 1].bytes;
  }
  return events > kFarEvents || bytes > kFarBytes;
}

void EventLog::LoadHead(const store::EventLogRow& row) {
  compacted_ = Revision(row.compact_revision());
  head_stored_ = true;
}

void EventLog::LoadRun(Revision last, const store::EventRunRow& row) {
  runs_.push_back(Run{last, row.events(), row.bytes(), row.last_time_us(), row.last_time_us()});
  events_ += row.events();
  bytes_ += row.bytes();
}

absl::Status EventLog::LoadEvents(Revision revision, size_t key_bytes, absl::string_view packed) {
  store::EventsRow row;
  if (!row.ParseFromArray(packed.data(), static_cast<int>(packed.size()))) {
    return absl::DataLossError(absl::StrCat("the event row of revision ", revision.value,
                                            " can't be read: restore the data directory"));
  }
  uint64_t told = 0;
  for (const store::EventRow& event : row.events()) told += event.has_event() ? 1 : 0;
  Count(revision, told, key_bytes + packed.size(), row.time_us() + row.server_time_ahead_us());
  return absl::OkStatus();
}

void EventLog::FinishLoad(Revision newest) {
  // A store that is older than the event log.
  if (!head_stored_) compacted_ = newest;
}

}  // namespace muster
