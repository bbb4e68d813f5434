#include "client/agent/cache_pinner.h"

#include <set>
#include <vector>

#include "storage/base/status_macros.h"

namespace muster {

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
  MUSTER_RETURN_IF_ERROR(fetcher_.Assign(assembly, shards));
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
  if (fetcher_.Assign(assembly, {}).ok()) versions_.erase(assembly);
}

}  // namespace muster
