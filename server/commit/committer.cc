#include "server/commit/committer.h"

#include <algorithm>
#include <iterator>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/watch/feed_reader.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status QueueFull(size_t limit, absl::string_view what) {
  return WithDetail(
      absl::ResourceExhaustedError(
          absl::StrCat("the server is overloaded: ", limit, " ", what, " are already waiting")),
      ErrorDetail{reasons::kQueueFull, {{"limit", absl::StrCat(limit)}}, absl::Milliseconds(200)});
}

// What a command takes in memory, which may be several times what it took on the wire.
struct MemoryOf {
  size_t operator()(const google::protobuf::Message& request) const {
    return request.SpaceUsedLong();
  }
  size_t operator()(const StagePieces& command) const {
    return sizeof(command) + command.version.size() + command.md5s.size();
  }
  size_t operator()(const AddShard& command) const {
    return sizeof(command) + command.version.size() + command.shard.SpaceUsedLong();
  }
  size_t operator()(const AddCompanion& command) const {
    return sizeof(command) + command.version.size() + command.companion.SpaceUsedLong();
  }
  size_t operator()(const AddLocation& command) const {
    return sizeof(command) + command.version.size() + command.entry.SpaceUsedLong();
  }
  size_t operator()(const RemoveLocation& command) const {
    return sizeof(command) + command.version.size() + command.entry.SpaceUsedLong();
  }
  // The server's own, which are few.
  template <typename Own>
  requires(!std::is_base_of_v<google::protobuf::Message, Own>) size_t operator()(
      const Own& command) const {
    return sizeof(command);
  }
};

size_t MemoryOfAll(const std::vector<Command>& commands) {
  size_t bytes = 0;
  for (const Command& command : commands) {
    bytes += sizeof(Command) + std::visit(MemoryOf{}, command);
  }
  return bytes;
}

absl::Status ShuttingDown() {
  return MakeError(absl::StatusCode::kUnavailable, reasons::kShuttingDown,
                   "the server is shutting down: try again, or another server");
}

// As MetadataBatch::SizeBytes counts.
struct OperationBytes {
  size_t operator()(const MetadataBatch::Put& put) const {
    return put.key.size() + put.value.size();
  }
  size_t operator()(const MetadataBatch::Delete& remove) const { return remove.key.size(); }
  size_t operator()(const MetadataBatch::DeleteRange& range) const {
    return range.begin.size() + range.end.size();
  }
};

// How long readers wait for the lock at most, but for a single command that takes longer.
constexpr size_t kMaxCommandsPerRun = 64;
constexpr absl::Duration kLongestRun = absl::Milliseconds(1);

// The revision's row is part of every batch: its key and at most 24 bytes.
constexpr size_t kRevisionRowBytes = 64;

}  // namespace

Committer::Committer(Clock& clock, MetadataStore& store, Registry& registry, LiveTables& live,
                     Feed& feed, const Options& options,
                     std::function<void(AssemblyUid)> plan_wanted)
    : clock_(clock),
      store_(store),
      registry_(registry),
      live_(live),
      feed_(feed),
      options_(options),
      plan_wanted_(std::move(plan_wanted)) {}

absl::Status Committer::Load() {
  WriterLock registry_lock(registry_mutex_);
  MUSTER_ASSIGN_OR_RETURN(Applied loaded, registry_.Load(store_));
  MUSTER_RETURN_IF_ERROR(
      FillFeed(store_, registry_.event_log().TailBegin(), registry_.revision(), feed_));
  {
    MutexLock lock(parked_mutex_);
    durable_ = registry_.revision();
  }
  group_.revision = registry_.revision();
  for (const AssemblyUid assembly : loaded.plans_wanted) plan_wanted_(assembly);
  for (Command& command : loaded.follow_ups) {
    SubmitInternal(Job{.commands = {std::move(command)}});
  }
  return absl::OkStatus();
}

void Committer::Enqueue(Job job, bool bounded) {
  absl::Status refused;
  job.bytes = bounded ? MemoryOfAll(job.commands) : 0;
  {
    MutexLock lock(queue_mutex_);
    if (stopped_) {
      refused = ShuttingDown();
    } else if (bounded && queue_.size() >= options_.queue_limit) {
      refused = QueueFull(options_.queue_limit, "calls");
    } else if (bounded && queue_bytes_ > 0 &&
               queue_bytes_ + job.bytes > options_.queue_bytes_limit) {
      refused = QueueFull(options_.queue_bytes_limit, "bytes");
    } else {
      queue_bytes_ += job.bytes;
      queue_.push_back(std::move(job));
      queue_filled_.NotifyOne();
      return;
    }
  }
  JobResult result;
  result.status = std::move(refused);
  job.done(std::move(result));
}

void Committer::Submit(Job job) { Enqueue(std::move(job), true); }
void Committer::SubmitInternal(Job job) { Enqueue(std::move(job), false); }

void Committer::Read(const std::function<void(const Registry&)>& read,
                     std::function<void(Revision)> reply) {
  // The revision belongs to the state that was read: both are taken under the one lock.
  Revision seen;
  {
    ReaderLock lock(registry_mutex_);
    read(registry_);
    seen = registry_.revision();
  }
  {
    // ReleaseReads raises durable_ and takes out what it answers under this lock too, so a read is
    // either seen there or sees the new durable_ here.
    MutexLock lock(parked_mutex_);
    if (seen > durable_) {
      parked_.emplace(seen, std::move(reply));
      return;
    }
  }
  reply(seen);
}

bool Committer::WaitForWork() {
  MutexLock lock(queue_mutex_);
  while (queue_.empty() && !stopped_) queue_filled_.Wait(queue_mutex_);
  return !queue_.empty();
}

void Committer::Stop() {
  MutexLock lock(queue_mutex_);
  stopped_ = true;
  queue_filled_.NotifyAll();
}

Revision Committer::durable() const {
  MutexLock lock(parked_mutex_);
  return durable_;
}

absl::StatusOr<bool> Committer::RunOnce() {
  // All that queued up during the last fsync shares the next one: the busier, the larger the
  // groups.
  Work work;
  {
    MutexLock lock(queue_mutex_);
    work.jobs.swap(queue_);
  }
  if (work.jobs.empty()) return false;
  size_t bytes = 0;
  for (const Job& job : work.jobs) bytes += job.bytes;
  while (!work.jobs.empty()) MUSTER_RETURN_IF_ERROR(RunSome(work));
  MUSTER_RETURN_IF_ERROR(Flush());
  MutexLock lock(queue_mutex_);
  queue_bytes_ -= bytes;
  return true;
}

absl::Status Committer::RunSome(Work& work) {
  std::vector<Step> steps;
  {
    WriterLock lock(registry_mutex_);
    const absl::Duration end = clock_.Monotonic() + kLongestRun;
    do {
      steps.push_back(ApplyNext(work));
    } while (!work.jobs.empty() && steps.size() < kMaxCommandsPerRun && clock_.Monotonic() < end);
  }
  // Outside the lock, as the group may have to be written first.
  for (Step& step : steps) {
    MUSTER_RETURN_IF_ERROR(AddToGroup(step.applied));
    if (step.answer) group_.answers.push_back(std::move(step.answer));
  }
  return absl::OkStatus();
}

// The next follow-up, or else the next command of the first job, with whose last follow-up the job
// ends.
Committer::Step Committer::ApplyNext(Work& work) {
  Step step;
  Job& job = work.jobs.front();
  if (!work.follow_ups.empty()) {
    const Command command = std::move(work.follow_ups.back());
    work.follow_ups.pop_back();
    step.applied = registry_.Apply(command, "", job.actor);
  } else if (work.next < job.commands.size()) {
    step.applied = registry_.Apply(job.commands[work.next], job.caller, job.actor);
    if (step.applied.status.ok()) {
      ++work.next;
    } else {
      work.result->failed = work.next;
      work.next = job.commands.size();
    }
    work.result->status = std::move(step.applied.status);
    work.result->reply = std::move(step.applied.reply);
    if (step.applied.changed) ++work.result->changed;
  } else {
    step.applied.revision = registry_.revision();
  }
  std::move(step.applied.follow_ups.rbegin(), step.applied.follow_ups.rend(),
            std::back_inserter(work.follow_ups));
  if (!work.follow_ups.empty() || work.next < job.commands.size()) return step;
  // Answered after the flush, whether it changed something or not: errors, too, reveal the state.
  step.answer = [done = std::move(job.done), result = std::move(work.result)](Revision durable) {
    result->revision = durable;
    done(std::move(*result));
  };
  work.jobs.pop_front();
  work.next = 0;
  work.result = std::make_shared<JobResult>();
  return step;
}

// The rows of one command are never split: they are in one batch, so a crash finds all or none.
// Where they don't fit beside the group's, the group so far becomes a batch of its own first.
absl::Status Committer::AddToGroup(Applied& applied) {
  const MetadataStore::Limits limits = store_.limits();
  size_t bytes = 0;
  for (const auto& operation : applied.operations) {
    bytes += std::visit(OperationBytes{}, operation);
  }
  const size_t operations = group_.batch.operations.size() + applied.operations.size() + 1;
  if (operations > limits.batch_operations_max ||
      group_.batch_bytes + bytes + kRevisionRowBytes > limits.batch_bytes_max) {
    MUSTER_RETURN_IF_ERROR(Flush());
  }
  group_.revision = applied.revision;
  group_.batch_bytes += bytes;
  for (auto& operation : applied.operations) {
    group_.batch.operations.push_back(std::move(operation));
  }
  for (Change& change : applied.changes) group_.changes.push_back(std::move(change));
  for (const AssemblyUid uid : applied.plans_wanted) group_.plans_wanted.push_back(uid);
  return absl::OkStatus();
}

// 1. The rows, with the revision that they lead to, are written and synced. After an error nobody
//    may get an answer, since nobody knows whether the rows are there; the process ends.
// 2. A server that has lost its leadership must not answer either, not even what it only read.
// 3. The lease table, then the feed: what an answer promises must be there when its caller asks
//    next.
// 4. The answers of the jobs, then of the reads that waited for this revision.
// 5. Plans are asked for last. The planner reads through Read, as everybody does.
absl::Status Committer::Flush() {
  Group group = std::exchange(group_, Group{});
  const Revision revision = group.revision;
  group_.revision = revision;
  if (!group.batch.operations.empty()) {
    // Only this thread writes the registry, so reading it needs no lock.
    group.batch.operations.push_back(registry_.RevisionRow(revision));
    group.batch.revision = revision.value;
    MUSTER_RETURN_IF_ERROR(
        Annotate(store_.Commit(group.batch), "a write to the metadata store failed"));
  }
  if (!group.answers.empty()) MUSTER_RETURN_IF_ERROR(store_.CheckLeadership());
  // The lease table first: a node that gets its epoch may send a heartbeat at once.
  for (const Change& change : group.changes) live_.Apply(change);
  feed_.Publish(std::move(group.changes), revision);
  for (auto& answer : group.answers) answer(revision);
  ReleaseReads(revision);
  for (const AssemblyUid assembly : group.plans_wanted) plan_wanted_(assembly);
  return absl::OkStatus();
}

void Committer::ReleaseReads(Revision durable) {
  std::vector<std::function<void(Revision)>> ready;
  {
    MutexLock lock(parked_mutex_);
    durable_ = durable;
    const auto end = parked_.upper_bound(durable);
    for (auto it = parked_.begin(); it != end; ++it) ready.push_back(std::move(it->second));
    parked_.erase(parked_.begin(), end);
  }
  // Outside the lock: a reply may start another read.
  for (auto& reply : ready) reply(durable);
}

}  // namespace muster
