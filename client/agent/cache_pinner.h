// Keeps the fetcher's idea of what the node's assemblies need up to date with the table.
#ifndef MUSTER_CLIENT_AGENT_CACHE_PINNER_H_
#define MUSTER_CLIENT_AGENT_CACHE_PINNER_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "client/agent/agent_state.h"
#include "client/agent/shard_fetcher.h"
#include "client/sdk/client.h"
#include "storage/base/mutex.h"

namespace muster {

// Thread-safe. Asks for the state's lock, so no caller holds it.
class CachePinner {
 public:
  // The arguments outlive it.
  CachePinner(AgentState& state, ShardFetcher& fetcher) : state_(state), fetcher_(fetcher) {}

  // The node is a member of the assembly that has this uid now: pins are that assembly's.
  void Joined(const std::string& assembly, const std::string& uid);

  // Returns OK once what the assembly is assigned now is pinned: a shard that is looked up in the
  // cache after that stays there.
  absl::Status Sync(const std::string& assembly);

  // The same for all assemblies, once the table has the whole assignment; those that are assigned
  // nothing any more are released, those of an earlier process included. What fails is done by a
  // later call.
  void SyncAll();

  // The node has left the assembly.
  void LetGo(const std::string& assembly);

  // Lets go of what other nodes of this cache keep for assemblies that the server says are gone: it knows none of the
  // name, or another one. Those of another cluster than that of `node_uid` stay, as does what an earlier build
  // pinned. OK once the server has spoken about each; otherwise nothing is said about those that are left.
  absl::Status LetGoOfGone(Client& client, const std::string& node_uid, const CallOptions& call);

 private:
  absl::Status SyncLocked(const std::string& assembly) MUSTER_REQUIRES(mutex_);

  AgentState& state_;
  ShardFetcher& fetcher_;
  // Held over the fetcher's calls, so that an older assignment never replaces a newer one.
  Mutex mutex_;
  // By assembly, as the node joined it last.
  std::map<std::string, std::string> uids_ MUSTER_GUARDED_BY(mutex_);
  // By assembly: AssignmentTable::AssignmentVersion of what is pinned.
  std::map<std::string, uint64_t> versions_ MUSTER_GUARDED_BY(mutex_);
  bool others_let_go_ MUSTER_GUARDED_BY(mutex_) = false;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_CACHE_PINNER_H_
