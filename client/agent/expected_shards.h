// What a node would be to hold, for a look at its cache before it begins.
#ifndef MUSTER_CLIENT_AGENT_EXPECTED_SHARDS_H_
#define MUSTER_CLIENT_AGENT_EXPECTED_SHARDS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "client/agent/agent.h"
#include "client/sdk/client.h"

namespace muster {

struct ExpectedShards {
  // What is assigned to the node already, in all of its assemblies; and of an assembly that has
  // nothing for it yet, what the node's claim will give it.
  std::vector<v1::Shard> shards;
  // The server chooses when the node has joined, so that `shards` holds all that it might get.
  bool at_most = false;
};

// Changes nothing at the server, and does not disturb an agent that runs under the node's name.
// The errors are those of Agent::Run before the node is registered.
absl::StatusOr<ExpectedShards> ExpectShards(Client& client, const AgentOptions& options,
                                            const CallOptions& call);

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_EXPECTED_SHARDS_H_
