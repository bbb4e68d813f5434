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
#include "client/assemble/kept_companions.h"
#include "client/cache/shard_cache.h"
#include "client/transfer/puller.h"

namespace muster {

using NotedAssemblies = std::vector<std::shared_ptr<const NotedAssembly>>;

// What is noted of the assemblies that the agent is to be in, where its options still describe them.
// What is damaged counts as not noted; `warn` is told.
NotedAssemblies ReadNoted(const AssemblyNotes& notes, const std::vector<Membership>& memberships,
                          Random& random,
                          const std::function<void(const std::string& warning)>& warn);

// Where the small files of what is noted are kept.
KeptCompanions CompanionsOf(const AssemblyNotes& notes);

// Lets `options` note what is READY, with its small files, and verify what was noted. `client`, `cache` and `puller` outlive
// them; `shards_of` says what the node holds of an assembly.
void NoteReady(Client& client, ShardCache& cache, Puller& puller, const AssemblyNotes& notes,
               ReadyActions::ShardsOf shards_of, ReadyOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_AGENT_OFFLINE_H_
