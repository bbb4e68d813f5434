// The threads that get assigned shards onto the node.
#ifndef MUSTER_CLIENT_AGENT_FETCH_POOL_H_
#define MUSTER_CLIENT_AGENT_FETCH_POOL_H_

#include <stop_token>
#include <thread>
#include <vector>

#include "client/agent/agent_observer.h"
#include "client/agent/agent_state.h"
#include "client/agent/shard_fetcher.h"
#include "client/sdk/client.h"

namespace muster {

// Takes work from the table until it is destroyed, whatever happens to the connection: a lost
// server does not stop a fetch. A shard that failed before is fetched with the locations that the
// server has by then.
class FetchPool {
 public:
  // The arguments outlive the pool. `threads` is at least 1.
  FetchPool(AgentState& state, Client& client, ShardFetcher& fetcher, AgentObserver& observer,
            int threads);
  // Stops the fetches under way and waits for them.
  ~FetchPool();
  FetchPool(const FetchPool&) = delete;
  FetchPool& operator=(const FetchPool&) = delete;

 private:
  void Run();
  void Get(AssignmentTable::Work work);
  void RefreshLocations(AssignmentTable::Work& work, const std::stop_token& stop);
  void Finish(const AssignmentTable::Work& work, const ShardFetcher::Outcome& outcome,
              bool from_cache);
  void Tell(const AssignmentTable::Work& work, v1::ShardReport::State state,
            const ShardFetcher::Outcome& outcome, bool from_cache);

  AgentState& state_;
  Client& client_;
  ShardFetcher& fetcher_;
  AgentObserver& observer_;
  std::stop_source stop_;
  std::vector<std::jthread> threads_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_FETCH_POOL_H_
