#include "client/agent/fetch_pool.h"

#include <optional>
#include <string>
#include <utility>

#include "client/transfer/pull_failure.h"

namespace muster {
namespace {

// Fetching with the locations that are known is better than waiting longer for others.
constexpr absl::Duration kRefreshTimeout = absl::Seconds(10);
// Fetches that may wait for a place beside those that run. Further ones wait as pending, where they
// cost nothing.
constexpr int kMaxWaiting = 4;

bool SameContent(const v1::Shard& a, const v1::Shard& b) {
  return a.size_bytes() == b.size_bytes() && a.root() == b.root() && a.md5() == b.md5();
}

}  // namespace

// One attempt's way to its places. While it waits it does not count as active.
class FetchPool::WorkGate final : public ReadGate {
 public:
  WorkGate(FetchPool& pool, const AssignmentTable::Work& work) : pool_(pool), work_(work) {}

  absl::StatusOr<bool> Acquire(const std::string& uri, bool wait,
                               const std::stop_token& stop) override {
    const std::string& shard = work_.shard.name();
    if (!wait) return pool_.places_.Acquire(shard, uri, wait, stop);
    pool_.observer_.OnWaiting(work_.key.assembly, work_.key.index, uri);
    CountActive(-1);
    absl::StatusOr<bool> granted = pool_.places_.Acquire(shard, uri, wait, stop);
    CountActive(1);
    return granted;
  }

  void Release(const std::string& uri) override { pool_.places_.Release(work_.shard.name(), uri); }

 private:
  void CountActive(int by) {
    MutexLock lock(pool_.state_.mutex);
    pool_.active_ += by;
    pool_.state_.changed.NotifyAll();
  }

  FetchPool& pool_;
  const AssignmentTable::Work& work_;
};

FetchPool::FetchPool(AgentState& state, Client& client, ReadPlaces& places, CachePinner& pinner,
                     ShardFetcher& fetcher, AgentObserver& observer, int parallel)
    : state_(state),
      client_(client),
      places_(places),
      pinner_(pinner),
      fetcher_(fetcher),
      observer_(observer),
      parallel_(parallel) {
  for (int i = 0; i < parallel + kMaxWaiting; ++i) threads_.emplace_back([this] { Run(); });
}

FetchPool::~FetchPool() {
  stop_.request_stop();
  state_.WakeAll();
}

std::optional<AssignmentTable::Work> FetchPool::NextWork() {
  MutexLock lock(state_.mutex);
  while (!stop_.stop_requested()) {
    if (active_ >= parallel_) {
      state_.Wait(absl::InfiniteDuration());
      continue;
    }
    std::optional<AssignmentTable::Work> work = state_.table.TakeWork(state_.clock.Monotonic());
    if (work.has_value()) {
      ++active_;
      return work;
    }
    state_.Wait(state_.table.NextRetry().value_or(absl::InfiniteDuration()));
  }
  return std::nullopt;
}

void FetchPool::Run() {
  while (std::optional<AssignmentTable::Work> work = NextWork()) {
    Get(*std::move(work));
    MutexLock lock(state_.mutex);
    --active_;
    state_.changed.NotifyAll();
  }
}

void FetchPool::Get(AssignmentTable::Work work) {
  // An attempt ends when its assignment does or when the agent does.
  std::stop_source either;
  const auto end = [&either] { either.request_stop(); };
  const std::stop_callback unassigned(work.stop, end);
  const std::stop_callback stopping(stop_.get_token(), end);
  const std::stop_token stop = either.get_token();

  // What is found in the cache from here on stays there. Where that can't be written down, as on a full disk, what is
  // there still serves: nothing else is gained by calling it absent.
  const absl::Status pinned = pinner_.Sync(work.key.assembly);
  if (fetcher_.Holds(work.shard, stop)) {
    TellPinned(work.key.assembly, pinned);
    Finish(work, {absl::OkStatus(), {}}, /*from_cache=*/true);
    return;
  }
  if (!pinned.ok()) {
    Finish(work, {pinned, ToProto(NodeFailure(pinned))}, /*from_cache=*/false);
    return;
  }
  if (!stop.stop_requested() && work.failures > 0) RefreshLocations(work, stop);
  {
    MutexLock lock(state_.mutex);
    if (stop.stop_requested() || !state_.table.BeginFetch(work)) {
      state_.table.Abandon(work);
      state_.changed.NotifyAll();
      return;
    }
    state_.changed.NotifyAll();
  }
  Tell(work, v1::ShardReport::FETCHING, {}, /*from_cache=*/false);
  WorkGate gate(*this, work);
  const ShardFetcher::Outcome outcome =
      fetcher_.Fetch(work.shard, gate, stop, [&](uint64_t done_bytes) {
        {
          MutexLock lock(state_.mutex);
          state_.table.SetProgress(work, done_bytes);
        }
        observer_.OnProgress(work.key.assembly, work.key.index, done_bytes,
                             work.shard.size_bytes());
      });
  if (!outcome.status.ok() && stop.stop_requested()) {
    MutexLock lock(state_.mutex);
    state_.table.Abandon(work);
    state_.changed.NotifyAll();
    return;
  }
  Finish(work, outcome, /*from_cache=*/false);
}

void FetchPool::TellPinned(const std::string& assembly, const absl::Status& pinned) {
  {
    MutexLock lock(state_.mutex);
    const bool is_new =
        pinned.ok() ? unpinned_.erase(assembly) > 0 : unpinned_.insert(assembly).second;
    if (!is_new) return;
  }
  observer_.OnPinned(assembly, pinned);
}

void FetchPool::RefreshLocations(AssignmentTable::Work& work, const std::stop_token& stop) {
  if (work.shard.name().empty()) return;
  v1::GetShardRequest request;
  request.set_name(work.shard.name());
  CallOptions options;
  options.timeout = kRefreshTimeout;
  options.stop = stop;
  absl::StatusOr<v1::GetShardResponse> response = client_.GetShard(request, options);
  if (!response.ok() || !SameContent(response->shard(), work.shard)) return;
  *work.shard.mutable_locations() = std::move(*response->mutable_shard()->mutable_locations());
}

void FetchPool::Finish(const AssignmentTable::Work& work, const ShardFetcher::Outcome& outcome,
                       bool from_cache) {
  bool counts = false;
  {
    MutexLock lock(state_.mutex);
    counts = outcome.status.ok()
                 ? state_.table.FinishReady(work, outcome.locations)
                 : state_.table.FinishFailed(work, outcome.failure, outcome.locations,
                                             state_.clock.Monotonic());
    state_.changed.NotifyAll();
  }
  if (!counts) return;
  Tell(work, outcome.status.ok() ? v1::ShardReport::READY : v1::ShardReport::FAILED, outcome,
       from_cache);
}

void FetchPool::Tell(const AssignmentTable::Work& work, v1::ShardReport::State state,
                     const ShardFetcher::Outcome& outcome, bool from_cache) {
  AgentObserver::ShardUpdate update;
  update.assembly = work.key.assembly;
  update.shard = work.key.index;
  update.size_bytes = work.shard.size_bytes();
  update.state = state;
  update.from_cache = from_cache;
  update.fetched_bytes = outcome.fetched_bytes;
  if (state == v1::ShardReport::FAILED) {
    update.failure = outcome.failure;
    update.error = outcome.status;
    update.failures = work.failures + 1;
  }
  observer_.OnShard(update);
}

}  // namespace muster
