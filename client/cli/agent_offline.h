// What an agent serves while no server answers, and what it notes for that.
#ifndef MUSTER_CLIENT_CLI_AGENT_OFFLINE_H_
#define MUSTER_CLIENT_CLI_AGENT_OFFLINE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/agent/assembly_notes.h"
#include "client/agent/memberships.h"
#include "client/agent/noted_assembly.h"
#include "client/agent/ready_actions.h"
#include "client/cache/shard_cache.h"

namespace muster {

using NotedAssemblies = std::vector<std::shared_ptr<const NotedAssembly>>;

// What is noted of the assemblies that the agent is to be in, where its options still describe them.
// What is damaged counts as not noted; `warn` is told.
NotedAssemblies ReadNoted(const AssemblyNotes& notes, const std::vector<Membership>& memberships,
                          Random& random,
                          const std::function<void(const std::string& warning)>& warn);

// Lets `options` note what is READY, and verify what was noted. `client` and `cache` outlive them;
// `shards_of` says what the node holds of an assembly.
void NoteReady(Client& client, ShardCache& cache, const AssemblyNotes& notes,
               ReadyActions::ShardsOf shards_of, ReadyOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_AGENT_OFFLINE_H_
