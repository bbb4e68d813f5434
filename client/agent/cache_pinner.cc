#include "client/agent/cache_pinner.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {

namespace {

// "{cluster}-{number}".
absl::string_view ClusterOf(absl::string_view uid) {
  return uid.substr(0, std::min(uid.rfind('-'), uid.size()));
}

// Whether the server says that there is no such assembly any more.
absl::StatusOr<bool> IsGone(Client& client, const ShardFetcher::AssemblyId& assembly,
                            const CallOptions& call) {
  v1::GetAssemblyRequest request;
  request.set_name(assembly.name);
  const absl::StatusOr<v1::GetAssemblyResponse> found = client.GetAssembly(request, call);
  if (ReasonOf(found.status()) == reasons::kAssemblyUnknown) return true;
  MUSTER_RETURN_IF_ERROR(found.status());
  return found->assembly().uid() != assembly.uid;
}

}  // namespace

void CachePinner::Joined(const std::string& assembly, const std::string& uid) {
  MutexLock lock(mutex_);
  if (std::exchange(uids_[assembly], uid) == uid) return;
  // Pinned before the answer to the join was here, for no assembly that anybody could ask about.
  if (versions_.erase(assembly) > 0) SyncLocked(assembly).IgnoreError();
}

absl::Status CachePinner::LetGoOfGone(Client& client, const std::string& node_uid,
                                      const CallOptions& call) {
  MUSTER_ASSIGN_OR_RETURN(const std::set<ShardFetcher::AssemblyId> assemblies,
                          fetcher_.NeededByOthers());
  for (const ShardFetcher::AssemblyId& assembly : assemblies) {
    if (assembly.uid.empty() || ClusterOf(assembly.uid) != ClusterOf(node_uid)) continue;
    MUSTER_ASSIGN_OR_RETURN(const bool gone, IsGone(client, assembly, call));
    if (gone) MUSTER_RETURN_IF_ERROR(fetcher_.LetGoForOthers(assembly));
  }
  return absl::OkStatus();
}

absl::Status CachePinner::Sync(const std::string& assembly) {
  MutexLock lock(mutex_);
  return SyncLocked(assembly);
}

absl::Status CachePinner::SyncLocked(const std::string& assembly) {
  uint64_t version = 0;
  std::vector<v1::Shard> shards;
  {
    MutexLock lock(state_.mutex);
    version = state_.table.AssignmentVersion(assembly);
    const auto pinned = versions_.find(assembly);
    if (pinned != versions_.end() && pinned->second == version) return absl::OkStatus();
    shards = state_.table.ShardsOf(assembly);
  }
  MUSTER_RETURN_IF_ERROR(fetcher_.Assign({assembly, uids_[assembly]}, shards));
  if (version == 0) {
    versions_.erase(assembly);
  } else {
    versions_[assembly] = version;
  }
  return absl::OkStatus();
}

void CachePinner::SyncAll() {
  MutexLock lock(mutex_);
  std::set<std::string> assemblies;
  {
    MutexLock state_lock(state_.mutex);
    assemblies = state_.table.Assemblies();
  }
  if (!others_let_go_) others_let_go_ = fetcher_.AssignNoOthers(assemblies).ok();
  for (const auto& [assembly, version] : versions_) assemblies.insert(assembly);
  for (const std::string& assembly : assemblies) SyncLocked(assembly).IgnoreError();
}

void CachePinner::LetGo(const std::string& assembly) {
  MutexLock lock(mutex_);
  if (fetcher_.Assign({assembly, ""}, {}).ok()) versions_.erase(assembly);
}

}  // namespace muster
