// The threads that get assigned shards onto the node.
#ifndef MUSTER_CLIENT_AGENT_FETCH_POOL_H_
#define MUSTER_CLIENT_AGENT_FETCH_POOL_H_

#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "client/agent/agent_observer.h"
#include "client/agent/agent_state.h"
#include "client/agent/cache_pinner.h"
#include "client/agent/read_places.h"
#include "client/agent/shard_fetcher.h"
#include "client/sdk/client.h"

namespace muster {

// Takes work from the table until it is destroyed, whatever happens to the connection: a lost
// server does not stop a fetch. One that waits for a place at a bounded location lets another begin
// meanwhile. A shard that failed before is fetched with the locations that the server has by then.
class FetchPool {
 public:
  // The arguments outlive the pool. `parallel` fetches run at once, at least 1.
  FetchPool(AgentState& state, Client& client, ReadPlaces& places, CachePinner& pinner,
            ShardFetcher& fetcher, AgentObserver& observer, int parallel);
  // Stops the fetches under way and waits for them.
  ~FetchPool();
  FetchPool(const FetchPool&) = delete;
  FetchPool& operator=(const FetchPool&) = delete;

 private:
  class WorkGate;

  void Run();
  std::optional<AssignmentTable::Work> NextWork();
  void Get(AssignmentTable::Work work);
  void TellPinned(const std::string& assembly, const absl::Status& pinned);
  void RefreshLocations(AssignmentTable::Work& work, const std::stop_token& stop);
  void Finish(const AssignmentTable::Work& work, const ShardFetcher::Outcome& outcome,
              bool from_cache);
  void Tell(const AssignmentTable::Work& work, v1::ShardReport::State state,
            const ShardFetcher::Outcome& outcome, bool from_cache);

  AgentState& state_;
  Client& client_;
  ReadPlaces& places_;
  CachePinner& pinner_;
  ShardFetcher& fetcher_;
  AgentObserver& observer_;
  const int parallel_;
  // Attempts under way that wait for no place.
  int active_ MUSTER_GUARDED_BY(state_.mutex) = 0;
  // Assemblies that are served from the cache though their pins can't be written.
  std::set<std::string> unpinned_ MUSTER_GUARDED_BY(state_.mutex);
  std::stop_source stop_;
  std::vector<std::jthread> threads_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_FETCH_POOL_H_
