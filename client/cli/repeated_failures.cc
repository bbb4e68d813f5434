#include "client/cli/repeated_failures.h"

namespace muster {
namespace {

bool IsOfTheNode(int code) {
  return code == v1::ShardFailure::NO_SPACE || code == v1::ShardFailure::NODE_ERROR;
}

}  // namespace

RepeatedFailures::Count RepeatedFailures::CountOf(const Key& key, const Cause& cause) {
  const auto& [assembly, code, reason] = key;
  return {static_cast<v1::ShardFailure::Code>(code), reason, cause.count, cause.failing.size()};
}

RepeatedFailures::Verdict RepeatedFailures::Failed(const std::string& assembly, uint32_t shard,
                                                   const v1::ShardFailure& failure) {
  const Key key(assembly, failure.code(), failure.reason());
  const absl::Duration now = clock_.Monotonic();
  MutexLock lock(mutex_);
  // It fails for another cause than before.
  for (auto& [other, cause] : causes_) {
    if (std::get<0>(other) == assembly && other != key) cause.failing.erase(shard);
  }
  Cause& cause = causes_[key];
  if (cause.told.empty()) cause.next_count = now + kCountInterval;
  cause.failing.insert(shard);
  const size_t told_max = IsOfTheNode(failure.code()) ? 1 : kMaxToldShards;
  if (cause.told.size() < told_max && cause.told.insert(shard).second) return {.in_full = true};
  ++cause.count;
  if (now < cause.next_count) return {};
  const Verdict verdict{.in_full = false, .count = CountOf(key, cause)};
  cause.count = 0;
  cause.next_count = now + kCountInterval;
  return verdict;
}

bool RepeatedFailures::IsNews(const std::string& assembly, uint32_t shard) const {
  MutexLock lock(mutex_);
  for (const auto& [key, cause] : causes_) {
    if (std::get<0>(key) != assembly) continue;
    if (cause.failing.contains(shard)) return false;
    if (IsOfTheNode(std::get<1>(key)) && !cause.failing.empty()) return false;
  }
  return true;
}

std::optional<RepeatedFailures::Count> RepeatedFailures::Mended(const std::string& assembly,
                                                                uint32_t shard) {
  MutexLock lock(mutex_);
  std::optional<Count> over;
  for (auto it = causes_.begin(); it != causes_.end();) {
    auto& [key, cause] = *it;
    if (std::get<0>(key) != assembly) {
      ++it;
      continue;
    }
    cause.failing.erase(shard);
    // Where one shard found room, or a key, the next failure for want of it is news again.
    if (!cause.failing.empty()) {
      ++it;
      continue;
    }
    if (cause.count > 0) over = CountOf(key, cause);
    it = causes_.erase(it);
  }
  return over;
}

void RepeatedFailures::Forget(const std::string& assembly) {
  MutexLock lock(mutex_);
  std::erase_if(causes_, [&](const auto& entry) { return std::get<0>(entry.first) == assembly; });
}

}  // namespace muster
