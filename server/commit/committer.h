// The one place where state changes: applies commands in order, makes them durable in groups,
// publishes, replies.
//
// 1. Handlers Submit jobs to a bounded queue and return.
// 2. RunOnce takes all that has queued up, applies the commands under the exclusive lock, a run of
//    them at a time, and collects the rows.
// 3. The rows of the group are committed as one synced batch (or several, where the store's limits
//    ask for it).
// 4. Then, and only then, the changes are published and the jobs are answered; so are the reads that
//    saw the state.
//
// Reads run under the shared lock at any time. They may see what is not durable yet, and so are
// answered only once the revision that they saw is.
#ifndef MUSTER_SERVER_COMMIT_COMMITTER_H_
#define MUSTER_SERVER_COMMIT_COMMITTER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "server/registry/command.h"
#include "server/registry/live_tables.h"
#include "server/registry/registry.h"
#include "server/watch/feed.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// What a job's caller gets.
struct JobResult {
  absl::Status status;
  // The last command's response message; null for commands without one.
  std::unique_ptr<google::protobuf::Message> reply;
  // How many of the commands changed something.
  size_t changed = 0;
  // The command that `status` is of, where one was carried out and refused.
  std::optional<size_t> failed = std::nullopt;
  // Durable, and at or above that of the job's commands.
  Revision revision;
};

// Commands that are carried out one after the other, up to the first that fails.
struct Job {
  std::vector<Command> commands;
  // Called exactly once; on the committer's thread, or inside Submit when the job is refused. Must
  // not block.
  std::function<void(JobResult)> done = [](JobResult) {};
  // The connection that asks, as gRPC names its peer, where the commands have a request id; else "".
  std::string caller = {};
  // Who asks, as events name it.
  std::string actor = {};
  // What the commands take in memory; Submit sets it.
  size_t bytes = 0;
};

// Thread-safe, but for RunOnce and Load, which one thread calls.
class Committer {
 public:
  struct Options {
    // Jobs that may wait; more are answered RESOURCE_EXHAUSTED QUEUE_FULL.
    size_t queue_limit = 4'096;
    // What their commands may take in memory together, until they are carried out. A job that is
    // alone is taken whatever it takes: a call has at most 4 MiB.
    size_t queue_bytes_limit = size_t{64} << 20;
  };

  // All outlive the committer. `plan_wanted` is called on the committer's thread, after the group
  // is durable.
  Committer(Clock& clock, MetadataStore& store, Registry& registry, LiveTables& live, Feed& feed,
            const Options& options, std::function<void(AssemblyUid)> plan_wanted);

  // Reads the state from the store, and fills the feed with what happened last.
  absl::Status Load();

  // Queues a job.
  void Submit(Job job) MUSTER_EXCLUDES(queue_mutex_);
  // The same for the server's own commands, which no limit refuses.
  void SubmitInternal(Job job) MUSTER_EXCLUDES(queue_mutex_);

  // Runs `read` at once under the shared lock, and `reply` as soon as what it saw is durable:
  // before Read returns, or later on the committer's thread. `read` is bounded to about 1,000
  // items; neither may block.
  void Read(const std::function<void(const Registry&)>& read, std::function<void(Revision)> reply)
      MUSTER_EXCLUDES(registry_mutex_, parked_mutex_);

  // Carries out what has queued up; false when there was nothing. An error means that the store
  // failed or that this process no longer leads it: nothing of the group was answered, and the
  // process has to end.
  absl::StatusOr<bool> RunOnce();

  // Blocks until there is a job, or Stop was called; false in the latter case, once the queue is
  // empty.
  bool WaitForWork() MUSTER_EXCLUDES(queue_mutex_);
  // Refuses further jobs (UNAVAILABLE SHUTTING_DOWN) and lets WaitForWork end.
  void Stop() MUSTER_EXCLUDES(queue_mutex_);

  // The newest revision that is durable.
  Revision durable() const MUSTER_EXCLUDES(parked_mutex_);

 private:
  // What waits for the next flush.
  struct Group {
    // Of the state after the group's last command.
    Revision revision;
    MetadataBatch batch;
    size_t batch_bytes = 0;
    std::vector<Change> changes;
    std::vector<AssemblyUid> plans_wanted;
    std::vector<std::function<void(Revision)>> answers;
  };

  // Jobs that are being carried out, in order.
  struct Work {
    std::deque<Job> jobs;
    // Of the first job: the command that is next, and what came of those before it.
    size_t next = 0;
    std::shared_ptr<JobResult> result = std::make_shared<JobResult>();
    // What comes before that, the last one first.
    std::vector<Command> follow_ups;
  };
  // What came of one command.
  struct Step {
    Applied applied;
    // Of the job that ended with it.
    std::function<void(Revision)> answer;
  };

  void Enqueue(Job job, bool bounded) MUSTER_EXCLUDES(queue_mutex_);
  // Carries out a run of commands under one hold of the lock, and adds what came of it to the group.
  absl::Status RunSome(Work& work) MUSTER_EXCLUDES(registry_mutex_);
  Step ApplyNext(Work& work) MUSTER_REQUIRES(registry_mutex_);
  absl::Status AddToGroup(Applied& applied);
  absl::Status Flush();
  void ReleaseReads(Revision durable) MUSTER_EXCLUDES(parked_mutex_);

  Clock& clock_;
  MetadataStore& store_;
  Registry& registry_;
  LiveTables& live_;
  Feed& feed_;
  const Options options_;
  const std::function<void(AssemblyUid)> plan_wanted_;

  // Guards the registry: exclusive while commands are applied, shared while it is read. No `read`
  // calls Read: they only look at the registry.
  SharedMutex registry_mutex_;
  Group group_;

  Mutex queue_mutex_;
  CondVar queue_filled_;
  std::deque<Job> queue_ MUSTER_GUARDED_BY(queue_mutex_);
  // Of the jobs that wait, and of those that are being carried out.
  size_t queue_bytes_ MUSTER_GUARDED_BY(queue_mutex_) = 0;
  bool stopped_ MUSTER_GUARDED_BY(queue_mutex_) = false;

  mutable Mutex parked_mutex_;
  Revision durable_ MUSTER_GUARDED_BY(parked_mutex_);
  std::multimap<Revision, std::function<void(Revision)>> parked_ MUSTER_GUARDED_BY(parked_mutex_);
};

}  // namespace muster

#endif  // MUSTER_SERVER_COMMIT_COMMITTER_H_
