// Fetches shards with a Puller into a ShardCache.
#ifndef MUSTER_CLIENT_AGENT_CACHE_FETCHER_H_
#define MUSTER_CLIENT_AGENT_CACHE_FETCHER_H_

#include <memory>
#include <string>

#include "client/agent/shard_fetcher.h"
#include "client/cache/shard_cache.h"
#include "client/sdk/client.h"
#include "client/transfer/puller.h"

namespace muster {

// Piece lists come from the server and are checked against the shard's root. A server that can't be
// reached is waited for, until the stop: that is not a failure of the shard. What `node`, a full
// name, is assigned is pinned in the cache for owner "{assembly}/{node}". The references outlive
// the fetcher.
std::unique_ptr<ShardFetcher> NewCacheFetcher(Client& client, Puller& puller, ShardCache& cache,
                                              const std::string& node);

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_CACHE_FETCHER_H_
