// How threads, connections and memory are shared between pulls:
//
// 1. A pull is a job in a queue, and its caller waits (RunSteps). Any worker takes the next step, a
//    piece or a whole shard, of the first job that has one left. Later jobs get what the first
//    can't use; but while its next piece waits for memory nobody overtakes it, or smaller pieces
//    would keep it waiting for ever.
// 2. Workers begin as they are needed: one that takes a step sees to it that another one is idle, up to a bound, and
//    one that was idle for long ends unless it is the last. Where no further thread is to be had those that there are
//    go on.
// 3. There may be more workers than connections. A step comes with a connection in hand and gives it
//    back as soon as its bytes are read, so that the next piece is read while this one is hashed
//    and written. A step that has to read again waits for a connection; such steps go before new
//    ones, since they hold memory. A connection is one to a host: where a host has as many as it may
//    have, nobody holds one that is of use elsewhere, and later jobs go first.
// 4. Second reads of steps that hang (step_race.h) go before everything. They need no connection,
//    as those that hang hold theirs, but memory, and there are at most a quarter as many as
//    connections. Nobody announces that a step became slow, so idle workers look at intervals while
//    one might.
// 5. A job's first failure keeps its other steps from beginning; the job ends when those that run
//    have ended. Then RunAll tries the next set of locations, unless the node itself was to blame.
// 6. The destructor asks all calls to stop and waits until they have left; only then do the workers
//    end. So no call ever waits for a worker that is gone.
//
// mutex_ guards the queue and all counts. It is never held over a read, a hash or a write, and
// comes before the locks of a pull.
#include "client/transfer/puller.h"

#include <algorithm>
#include <list>
#include <map>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/transfer/buffer_pool.h"
#include "client/transfer/host_slots.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"

namespace muster {
namespace {

// How often a pull that waits for its pieces looks whether it was cancelled: its pieces may all be
// queued behind others.
constexpr absl::Duration kStopLookInterval = absl::Milliseconds(20);
// How often a thread without work looks whether a piece under way has become slow.
constexpr absl::Duration kSlowLookInterval = absl::Milliseconds(50);
// So many cores have their lanes filled by pieces that came faster than one core hashes.
constexpr size_t kHashingCores = 2;
// A worker that hears nothing for so long ends.
constexpr absl::Duration kIdleMax = absl::Seconds(10);

PullResult Failed(PullFailure failure) {
  PullResult result;
  result.status = ToStatus(failure);
  result.failure = std::move(failure);
  return result;
}

PullResult Failed(const absl::Status& status) {
  PullResult result;
  result.status = status;
  result.failure = NodeFailure(status);
  return result;
}

PullFailure CancelledFailure() {
  return NodeFailure(absl::CancelledError("the pull was cancelled"));
}

PullFailure RottedFailure(const absl::Status& status) {
  PullFailure failure = LocationFailure(status, "");
  const ErrorDetail detail = DetailOf(status);
  if (const auto it = detail.metadata.find("expected_md5"); it != detail.metadata.end()) {
    failure.expected_md5 = it->second;
  }
  if (const auto it = detail.metadata.find("found_md5"); it != detail.metadata.end()) {
    failure.found_md5 = it->second;
  }
  return failure;
}

}  // namespace

// The threads, and the queue of pulls that they work on in order.
class Puller::Engine {
 public:
  // Ends a call when its caller or the puller's destructor says so.
  class CallStop {
   public:
    explicit CallStop(const std::stop_token& callers)
        : forward_(callers, [this] { source_.request_stop(); }) {}

    std::stop_token token() const { return source_.get_token(); }
    void Request() { source_.request_stop(); }

   private:
    std::stop_source source_;
    std::stop_callback<std::function<void()>> forward_;
  };

  Engine(const ObjectStoreRegistry& stores, Clock& clock, Random& random, PullerOptions options);
  ~Engine();

  PullResult Pull(const CheckedShard& shard, PieceSink& sink, const std::stop_token& stop,
                  const PullProgress& progress, ReadGate* gate);

  MemoryBudget& memory() { return *memory_; }

  // Brackets every call of the puller: the destructor stops and awaits it.
  void Enter(CallStop* call);
  void Leave(CallStop* call);

 private:
  // One pull. Guarded by mutex_, except `pull` and `stop`, which are thread-safe.
  struct Job {
    ShardPull& pull;
    const std::stop_token stop;
    size_t next_step = 0;
    size_t running = 0;
    std::optional<PullFailure> failure;

    bool MayReadTwice() const {
      return running > 0 && !failure.has_value() && pull.may_read_twice();
    }
    bool HasWork() const { return !failure.has_value() && next_step < pull.step_count(); }
    bool IsDone() const { return !HasWork() && running == 0; }
  };

  // One of options_.connections, or one more for a second read: those that hang hold theirs, and would keep
  // it from being made.
  class Connection final : public StepMeans::Connection {
   public:
    Connection(Engine& engine, bool extra) : engine_(engine), extra_(extra) {}
    ~Connection() override { GiveBack(); }
    bool Take(const std::string& uri, const std::stop_token& stop) override;
    void GiveBack() override;
    // Of one that can be had at once.
    void TakeNow(const std::string& host) MUSTER_REQUIRES(engine_.mutex_);

   private:
    bool CanTake(const std::string& host) const MUSTER_REQUIRES(engine_.mutex_) {
      return (extra_ || engine_.reading_ < engine_.connections_) && engine_.hosts_.Room(host) > 0;
    }
    void GiveBackLocked() MUSTER_REQUIRES(engine_.mutex_);

    Engine& engine_;
    const bool extra_;
    bool held_ = false;
    // As HostSlots has it.
    std::string host_;
  };

  // A first or second read of one step.
  struct Work {
    Job* job = nullptr;
    size_t step = 0;
    std::optional<ShardPull::SecondRead> second = {};
    // Of a first read, where it is to be.
    std::string host = {};
    // Taken of memory_.
    int64_t memory_bytes = 0;
  };

  // Tries one set of open locations after the other, until the pull is done or there is none left.
  std::optional<PullFailure> RunAll(ShardPull& pull, const std::stop_token& stop);
  // Runs all steps that are not done yet.
  std::optional<PullFailure> RunSteps(ShardPull& pull, const std::stop_token& stop);
  void WorkerLoop();
  // One more idle worker, where that may be.
  void AddWorker() MUSTER_REQUIRES(mutex_);
  // Waits for work; false where the worker, `self`, is to end.
  bool AwaitWork(std::optional<Work>& work, std::thread::id self) MUSTER_REQUIRES(mutex_);

  std::optional<Work> NextWork() MUSTER_REQUIRES(mutex_);
  std::optional<Work> NextFirstRead() MUSTER_REQUIRES(mutex_);
  size_t ReadingAgain() const MUSTER_REQUIRES(mutex_);
  std::optional<Work> NextSecondRead() MUSTER_REQUIRES(mutex_);
  // False when nothing was heard for kIdleMax.
  bool WaitForWork() MUSTER_REQUIRES(mutex_);
  std::optional<PullFailure> RunWork(const Work& work, StepMeans::Connection& connection);
  std::optional<PullFailure> RunRead(const Work& work, absl::Span<char> buffer,
                                     StepMeans::Connection& connection) const;
  std::optional<PullFailure> CheckMemory(const CheckedShard& shard, int64_t step_bytes);

  const ObjectStoreRegistry& stores_;
  Clock& clock_;
  Random& random_;
  const PullerOptions options_;
  const std::shared_ptr<MemoryBudget> memory_;
  const size_t connections_;
  HashQueue hashes_;
  std::optional<RateLimit> limit_;
  TransferPace pace_;
  HedgeBudget hedge_budget_;
  BufferPool buffers_;

  Mutex mutex_;
  // Work came, memory or a connection came free, or the end is near.
  CondVar work_;
  // A job or a call ended.
  CondVar ended_;
  std::list<Job*> jobs_ MUSTER_GUARDED_BY(mutex_);
  std::set<CallStop*> calls_ MUSTER_GUARDED_BY(mutex_);
  // Whether a step was not begun because others than steps have the memory: nobody announces that they gave it back.
  bool lacks_memory_ MUSTER_GUARDED_BY(mutex_) = false;
  // Steps that have a connection; and the hosts of those that wait to have one again, with how many do.
  size_t reading_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::map<std::string, size_t> reading_again_ MUSTER_GUARDED_BY(mutex_);
  HostSlots hosts_ MUSTER_GUARDED_BY(mutex_);
  size_t second_reads_ MUSTER_GUARDED_BY(mutex_) = 0;
  int64_t warned_step_bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  bool stopping_ MUSTER_GUARDED_BY(mutex_) = false;
  const size_t workers_max_;
  std::map<std::thread::id, std::thread> workers_ MUSTER_GUARDED_BY(mutex_);
  // Those that have left the loop, to be joined.
  std::vector<std::thread> ended_workers_ MUSTER_GUARDED_BY(mutex_);
  size_t idle_ MUSTER_GUARDED_BY(mutex_) = 0;
};

Puller::Engine::Engine(const ObjectStoreRegistry& stores, Clock& clock, Random& random,
                       PullerOptions options)
    : stores_(stores),
      clock_(clock),
      random_(random),
      options_(std::move(options)),
      memory_(options_.memory != nullptr
                  ? options_.memory
                  : std::make_shared<MemoryBudget>(options_.memory_budget_bytes)),
      connections_(std::clamp<size_t>(options_.connections, 1, kMaxPullConnections)),
      pace_(clock_, options_.pace),
      hedge_budget_(options_.hedge.extra_bytes),
      hosts_(options_.connections_per_host),
      // Pieces that are hashed and written need no connection, so as many more may be under way.
      workers_max_(connections_ + kHashingCores * Md5LaneCount()) {
  if (options_.max_bytes_per_second > 0) limit_.emplace(clock_, options_.max_bytes_per_second);
}

Puller::Engine::~Engine() {
  std::vector<std::thread> workers;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (CallStop* call : calls_) call->Request();
    while (!calls_.empty()) ended_.Wait(mutex_);
    work_.NotifyAll();
    // Without calls there are no jobs, and so nobody begins or ends another worker.
    for (auto& [id, worker] : workers_) workers.push_back(std::move(worker));
    workers_.clear();
    for (std::thread& worker : ended_workers_) workers.push_back(std::move(worker));
  }
  for (std::thread& worker : workers) worker.join();
}

void Puller::Engine::AddWorker() {
  if (stopping_ || workers_.size() >= workers_max_) return;
  for (std::thread& worker : ended_workers_) worker.join();
  ended_workers_.clear();
  // The only thing here that throws, where the system has no thread for us.
  try {
    std::thread worker([this] { WorkerLoop(); });
    const std::thread::id id = worker.get_id();
    workers_.emplace(id, std::move(worker));
    ++idle_;
  } catch (const std::system_error&) {
  }
}

void Puller::Engine::Enter(CallStop* call) {
  MutexLock lock(mutex_);
  calls_.insert(call);
  if (stopping_) call->Request();
}

void Puller::Engine::Leave(CallStop* call) {
  MutexLock lock(mutex_);
  calls_.erase(call);
  ended_.NotifyAll();
}

bool Puller::Engine::Connection::Take(const std::string& uri, const std::stop_token& stop) {
  MutexLock lock(engine_.mutex_);
  const std::string host = engine_.hosts_.HostOf(uri);
  if (held_ && host_ == host) return true;
  GiveBackLocked();
  ++engine_.reading_again_[host];
  while (!stop.stop_requested() && !CanTake(host)) {
    engine_.work_.WaitFor(engine_.mutex_, kStopLookInterval);
  }
  if (--engine_.reading_again_[host] == 0) engine_.reading_again_.erase(host);
  if (stop.stop_requested()) return false;
  TakeNow(host);
  return true;
}

void Puller::Engine::Connection::TakeNow(const std::string& host) {
  if (!extra_) ++engine_.reading_;
  engine_.hosts_.Take(host);
  held_ = true;
  host_ = host;
}

void Puller::Engine::Connection::GiveBack() {
  MutexLock lock(engine_.mutex_);
  GiveBackLocked();
}

void Puller::Engine::Connection::GiveBackLocked() {
  if (!std::exchange(held_, false)) return;
  if (!extra_) --engine_.reading_;
  engine_.hosts_.Return(host_);
  engine_.work_.NotifyAll();
}

// How many of the steps that wait for a connection only lack one, and no room at their host.
size_t Puller::Engine::ReadingAgain() const {
  size_t count = 0;
  for (const auto& [host, waiting] : reading_again_) count += std::min(waiting, hosts_.Room(host));
  return count;
}

// Of the first pull that has work left, unless its next piece has to wait for memory: a later one must
// not take that away. Pieces that are read a second time go before those that weren't yet.
std::optional<Puller::Engine::Work> Puller::Engine::NextFirstRead() {
  lacks_memory_ = false;
  if (reading_ + ReadingAgain() >= connections_) return std::nullopt;
  for (Job* job : jobs_) {
    if (!job->HasWork()) continue;
    const std::string host =
        options_.connections_per_host == 0 ? "" : hosts_.HostOf(job->pull.NextUri(job->next_step));
    if (hosts_.Room(host) == 0) continue;
    const int64_t needed = job->pull.step_memory_bytes();
    lacks_memory_ = !memory_->TryTake(needed);
    if (lacks_memory_) return std::nullopt;
    return Work{job, job->next_step++, std::nullopt, host, needed};
  }
  return std::nullopt;
}

// A second read for a step that takes too long, of the first pull that has such a step.
std::optional<Puller::Engine::Work> Puller::Engine::NextSecondRead() {
  if (second_reads_ >= std::max<size_t>(1, connections_ / 4)) return std::nullopt;
  for (Job* job : jobs_) {
    if (!job->MayReadTwice()) continue;
    const int64_t needed = job->pull.step_memory_bytes();
    if (!memory_->TryTake(needed)) continue;
    if (auto second = job->pull.NextSecondRead(job->stop)) {
      const size_t step = second->step;
      return Work{job, step, *std::move(second), "", needed};
    }
    memory_->GiveBack(needed);
  }
  return std::nullopt;
}

std::optional<Puller::Engine::Work> Puller::Engine::NextWork() {
  if (auto second = NextSecondRead()) return second;
  return NextFirstRead();
}

bool Puller::Engine::WaitForWork() {
  const bool may_get_slow =
      std::any_of(jobs_.begin(), jobs_.end(), [](const Job* job) { return job->MayReadTwice(); });
  if (!may_get_slow && !lacks_memory_) return work_.WaitFor(mutex_, kIdleMax);
  work_.WaitFor(mutex_, kSlowLookInterval);
  return true;
}

bool Puller::Engine::AwaitWork(std::optional<Work>& work, std::thread::id self) {
  bool is_needed = true;
  while (!(work = NextWork()).has_value()) {
    if (stopping_ && calls_.empty()) return false;
    if (!is_needed && !stopping_ && idle_ > 1) {
      --idle_;
      const auto worker = workers_.find(self);
      ended_workers_.push_back(std::move(worker->second));
      workers_.erase(worker);
      return false;
    }
    is_needed = WaitForWork();
  }
  --idle_;
  if (idle_ == 0) AddWorker();
  return true;
}

void Puller::Engine::WorkerLoop() {
  for (;;) {
    std::optional<Work> work;
    std::optional<Connection> connection;
    {
      MutexLock lock(mutex_);
      if (!AwaitWork(work, std::this_thread::get_id())) return;
      ++work->job->running;
      connection.emplace(*this, /*extra=*/work->second.has_value());
      if (work->second.has_value()) {
        ++second_reads_;
      } else {
        connection->TakeNow(work->host);
      }
    }
    std::optional<PullFailure> failure = RunWork(*work, *connection);
    connection.reset();
    memory_->GiveBack(work->memory_bytes);
    MutexLock lock(mutex_);
    if (work->second.has_value()) --second_reads_;
    ++idle_;
    Job& job = *work->job;
    --job.running;
    if (failure.has_value() && !job.failure.has_value()) job.failure = std::move(failure);
    if (job.IsDone()) ended_.NotifyAll();
    work_.NotifyAll();
  }
}

std::optional<PullFailure> Puller::Engine::RunWork(const Work& work,
                                                   StepMeans::Connection& connection) {
  // A second read that was announced is also made: the first one may wait for its end.
  if (work.job->stop.stop_requested() && !work.second.has_value()) return CancelledFailure();
  const auto size = static_cast<size_t>(work.job->pull.step_memory_bytes());
  if (size == 0) return RunRead(work, {}, connection);
  absl::StatusOr<IoBuffer> buffer = buffers_.Take(size);
  if (!buffer.ok()) {
    if (work.second.has_value()) return RunRead(work, {}, connection);
    return NodeFailure(Annotate(buffer.status(), "for a piece; lower the memory budget"));
  }
  auto failure = RunRead(work, {buffer->get(), size}, connection);
  buffers_.GiveBack(*std::move(buffer), size);
  return failure;
}

std::optional<PullFailure> Puller::Engine::RunRead(const Work& work, absl::Span<char> buffer,
                                                   StepMeans::Connection& connection) const {
  Job& job = *work.job;
  if (work.second.has_value()) {
    return job.pull.RunSecondRead(
        *work.second, {.buffer = buffer, .connection = connection, .stop = work.second->stop});
  }
  return job.pull.RunStep(work.step,
                          {.buffer = buffer, .connection = connection, .stop = job.stop});
}

std::optional<PullFailure> Puller::Engine::CheckMemory(const CheckedShard& shard,
                                                       int64_t step_bytes) {
  const int64_t budget = memory_->size_bytes();
  if (step_bytes > budget) {
    return NodeFailure(absl::ResourceExhaustedError(
        absl::StrCat(shard.name(), ": a piece of ", step_bytes,
                     " bytes does not fit into the memory budget of ", budget, "; raise it")));
  }
  if (step_bytes == 0) return std::nullopt;
  const auto fit = static_cast<size_t>(budget / step_bytes);
  if (fit >= connections_) return std::nullopt;
  {
    MutexLock lock(mutex_);
    if (std::exchange(warned_step_bytes_, step_bytes) == step_bytes) return std::nullopt;
  }
  if (options_.warn) {
    options_.warn(absl::StrCat("the memory budget of ", budget,
                               " bytes lowers the connections from ", connections_, " to ", fit,
                               " for pieces of ", step_bytes, " bytes"));
  }
  return std::nullopt;
}

PullResult Puller::Engine::Pull(const CheckedShard& shard, PieceSink& sink,
                                const std::stop_token& stop, const PullProgress& progress,
                                ReadGate* gate) {
  if (!shard.has_pieces() && !sink.HoldsBack()) {
    return Failed(absl::FailedPreconditionError(
        absl::StrCat(shard.name(),
                     ": has no piece digests, so its bytes are known to be right only "
                     "at the end; pull it into a cache first")));
  }
  ShardPull pull({.stores = stores_,
                  .clock = clock_,
                  .random = random_,
                  .zone = options_.zone,
                  .retry = options_.retry,
                  .gate = gate,
                  .hashes = hashes_,
                  .limit = limit_.has_value() ? &*limit_ : nullptr,
                  .pace = &pace_,
                  .hedge = options_.hedge,
                  .hedge_budget = hedge_budget_},
                 shard, sink, progress);
  if (auto failure = CheckMemory(shard, pull.step_memory_bytes())) return Failed(*failure);
  hedge_budget_.Add(shard.size_bytes());
  PullResult result;
  if (auto failure = RunAll(pull, stop)) result = Failed(*std::move(failure));
  result.location_failures = pull.location_failures();
  result.location_reports = pull.location_reports();
  result.fetched_bytes = pull.fetched_bytes();
  return result;
}

std::optional<PullFailure> Puller::Engine::RunAll(ShardPull& pull, const std::stop_token& stop) {
  std::optional<PullFailure> failure;
  if (pull.IsDone()) return failure;
  do {
    const absl::StatusOr<bool> admitted = pull.Admit(stop);
    if (absl::IsCancelled(admitted.status())) return CancelledFailure();
    if (!admitted.ok()) return NodeFailure(admitted.status());
    if (!*admitted) return failure;
    failure = RunSteps(pull, stop);
  } while (failure.has_value() && !IsOfNode(*failure));
  return failure;
}

std::optional<PullFailure> Puller::Engine::RunSteps(ShardPull& pull, const std::stop_token& stop) {
  Job job{.pull = pull, .stop = stop, .failure = std::nullopt};
  MutexLock lock(mutex_);
  jobs_.push_back(&job);
  if (idle_ == 0) AddWorker();
  if (workers_.empty()) {
    job.failure = NodeFailure(absl::ResourceExhaustedError(
        "no thread is to be had; raise the limit of processes (ulimit -u, pids.max) or of memory"));
  }
  work_.NotifyAll();
  while (!job.IsDone()) {
    ended_.WaitFor(mutex_, kStopLookInterval);
    if (job.stop.stop_requested() && !job.failure.has_value()) job.failure = CancelledFailure();
  }
  jobs_.remove(&job);
  if (jobs_.empty()) buffers_.Clear();
  return std::move(job.failure);
}

namespace {

// Registers a call with the engine for as long as it runs.
template <typename Engine>
class Call {
 public:
  Call(Engine& engine, const std::stop_token& stop) : engine_(engine), stop_(stop) {
    engine_.Enter(&stop_);
  }
  ~Call() { engine_.Leave(&stop_); }

  std::stop_token token() const { return stop_.token(); }

 private:
  Engine& engine_;
  typename Engine::CallStop stop_;
};

}  // namespace

Puller::Puller(const ObjectStoreRegistry& stores, Clock& clock, Random& random,
               PullerOptions options)
    : engine_(std::make_unique<Engine>(stores, clock, random, std::move(options))) {}

Puller::~Puller() = default;

MemoryBudget& Puller::memory() { return engine_->memory(); }

PullResult Puller::Pull(const PullShard& shard, PieceSink& sink, const std::stop_token& stop,
                        const PullProgress& progress) {
  const absl::StatusOr<CheckedShard> checked = CheckedShard::Make(shard);
  if (!checked.ok()) return Failed(checked.status());
  Engine& engine = *engine_;
  const Call<Engine> call(engine, stop);
  return engine.Pull(*checked, sink, call.token(), progress, nullptr);
}

CachedPullResult Puller::PullToCache(const PullShard& shard, ShardCache& cache,
                                     const std::stop_token& stop, const PullProgress& progress,
                                     ReadGate* gate) {
  CachedPullResult result;
  const absl::StatusOr<CheckedShard> checked = CheckedShard::Make(shard);
  if (!checked.ok()) {
    result.pull = Failed(checked.status());
    return result;
  }
  Engine& engine = *engine_;
  const Call<Engine> call(engine, stop);
  absl::StatusOr<ShardCache::Acquired> acquired = cache.Acquire(*checked, call.token());
  if (!acquired.ok()) {
    result.pull = Failed(acquired.status());
    return result;
  }
  if (acquired->entry.has_value()) {
    result.hit = true;
    result.entry = std::move(acquired->entry);
    if (progress) progress(checked->size_bytes());
  } else {
    result.pull = engine.Pull(*checked, *acquired->part, call.token(), progress, gate);
    if (result.pull.status.ok()) {
      absl::StatusOr<CachedShard> entry = acquired->part->Commit();
      if (entry.ok()) {
        result.entry = *std::move(entry);
      } else {
        result.pull.status = entry.status();
        result.pull.failure = NodeFailure(entry.status());
      }
    }
  }
  if (!acquired->rotted.ok()) result.pull.rotted = RottedFailure(acquired->rotted);
  return result;
}

MemoryPullResult Puller::PullToMemory(const PullShard& shard, int64_t max_bytes,
                                      const std::stop_token& stop, const PullProgress& progress) {
  MemoryPullResult result;
  const absl::StatusOr<CheckedShard> checked = CheckedShard::Make(shard);
  if (!checked.ok()) {
    result.pull = Failed(checked.status());
    return result;
  }
  if (checked->size_bytes() > max_bytes) {
    result.pull = Failed(absl::ResourceExhaustedError(
        absl::StrCat(checked->name(), ": ", checked->size_bytes(), " bytes are more than the ",
                     max_bytes, " that may be held in memory")));
    return result;
  }
  absl::StatusOr<std::unique_ptr<MemorySink>> sink = MemorySink::Make(checked->size_bytes());
  if (!sink.ok()) {
    result.pull = Failed(sink.status());
    return result;
  }
  Engine& engine = *engine_;
  const Call<Engine> call(engine, stop);
  result.pull = engine.Pull(*checked, **sink, call.token(), progress, nullptr);
  if (!result.pull.status.ok()) return result;
  result.size_bytes = checked->size_bytes();
  result.bytes = (*sink)->Take();
  return result;
}

}  // namespace muster
