// The event log: the events of every command, in rows of the same transaction, for a bounded time.
//
// Rows are counted in runs. A run that is full gets a row with its counts; so a restart reads the
// runs and the rows behind the last of them, and what is too old goes by whole runs, with one range
// delete.
#ifndef MUSTER_SERVER_REGISTRY_EVENT_LOG_H_
#define MUSTER_SERVER_REGISTRY_EVENT_LOG_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "muster/store/rows.pb.h"
#include "server/registry/transaction.h"
#include "storage/base/numbers.h"

namespace muster {

// Not thread-safe: written by the committer, read under the shared lock.
class EventLog {
 public:
  struct Options {
    // How long events are kept.
    int64_t max_age_us = int64_t{3'600} * 1'000'000;
    // How many are kept, at least and at most to within a run: a 64th of it, and at most 4,096.
    uint64_t max_events = 1'000'000;
    // What they take in the store, where a row describes an assembly in trouble at length.
    uint64_t max_bytes = uint64_t{1} << 30;
  };

  explicit EventLog(const Options& options) : options_(options) {}

  // Stores the events of the transaction, and adds them to the transaction's changes as
  // StoredEvents.
  void Append(Transaction& tx);

  // Drops what is too old or too much, a bounded part at a time.
  void Tick(Transaction& tx);

  // Events up to this revision are no longer kept.
  Revision compacted() const { return compacted_; }
  // Where the log can be entered: the last revisions of its runs, ascending; `compacted` is before
  // the first.
  std::vector<Revision> Entries() const;
  // Where its newest part begins: what came after this revision is some thousands of events.
  Revision TailBegin() const;
  // Whether more than some ten thousand events came after `revision`, so that a reader had better
  // start from the present state.
  bool IsFarBehind(Revision revision) const;

  // While the store is loaded, in this order.
  void LoadHead(const store::EventLogRow& row);
  void LoadRun(Revision last, const store::EventRunRow& row);
  absl::Status LoadEvents(Revision revision, size_t key_bytes, absl::string_view row);
  // `newest` is the store's revision.
  void FinishLoad(Revision newest);
  // The last revision of the last run that was loaded.
  Revision loaded_runs_end() const { return runs_.empty() ? compacted_ : runs_.back().last; }

 private:
  struct Run {
    Revision last;
    uint64_t events = 0;
    uint64_t bytes = 0;
    int64_t first_time_us = 0;
    int64_t last_time_us = 0;
  };

  void Count(Revision revision, uint64_t events, uint64_t bytes, int64_t time_us);
  bool IsFull(const Run& run) const;
  void CloseRun(Transaction& tx);

  const Options options_;
  Revision compacted_;
  // The head's row is there.
  bool head_stored_ = false;
  std::deque<Run> runs_;
  // The one that is being filled.
  Run open_;
  // Over all runs.
  uint64_t events_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_EVENT_LOG_H_
