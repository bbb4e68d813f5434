#include "client/agent/cache_fetcher.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cache/checked_shard.h"
#include "client/sdk/pieces.h"
#include "client/transfer/pull_failure.h"
#include "storage/base/limits.h"
#include "storage/base/mutex.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Digests of 16 bytes: 32 MiB of them at most, which is 16 TiB of shards at 8 MiB a piece.
constexpr size_t kMaxRememberedPieces = 2'000'000;

// Of an owner, "{assembly}/nodes/{node}".
constexpr char kNodePart[] = "/nodes/";

class CacheFetcher final : public ShardFetcher {
 public:
  CacheFetcher(Client& client, Puller& puller, ShardCache& cache, const std::string& node)
      : client_(client), puller_(puller), cache_(cache), owner_suffix_(absl::StrCat("/", node)) {}

  bool Holds(const v1::Shard& shard, const std::stop_token& stop) override {
    const absl::StatusOr<PullShard> described = Describe(shard, stop);
    if (!described.ok()) return false;
    const absl::StatusOr<CheckedShard> checked = CheckedShard::Make(*described);
    return checked.ok() && cache_.Lookup(*checked, stop).ok();
  }

  Outcome Fetch(const v1::Shard& shard, ReadGate& gate, const std::stop_token& stop,
                const OnProgress& on_progress) override {
    const absl::StatusOr<PullShard> described = Describe(shard, stop);
    absl::Status status = described.status();
    if (status.ok()) status = Admit(ContentKeyOf(shard));
    if (!status.ok()) return {status, ToProto(NodeFailure(status))};
    const CachedPullResult result = puller_.PullToCache(
        *described, cache_, stop,
        [&on_progress](int64_t done_bytes) {
          on_progress(static_cast<uint64_t>(std::max<int64_t>(done_bytes, 0)));
        },
        &gate);
    Outcome outcome{.status = result.pull.status,
                    .failure = {},
                    .locations = result.pull.location_reports,
                    .fetched_bytes = result.pull.fetched_bytes};
    if (outcome.status.ok()) return outcome;
    outcome.failure = ToProto(result.pull.failure.value_or(NodeFailure(outcome.status)));
    return outcome;
  }

  absl::Status Assign(const AssemblyId& assembly, const std::vector<v1::Shard>& shards) override {
    Need need;
    CachePin pin{absl::StrCat(assembly.name, owner_suffix_), {}, assembly.uid};
    for (const v1::Shard& shard : shards) {
      const std::string key = ContentKeyOf(shard);
      if (key.empty() || !need.keys.insert(key).second) continue;
      need.shards.push_back(WantedOf({&shard, 1}).front());
      pin.keys.push_back(key);
    }
    MUSTER_RETURN_IF_ERROR(cache_.SetPin(pin, {}));
    MutexLock lock(needs_mutex_);
    if (shards.empty()) {
      needs_.erase(assembly.name);
    } else {
      needs_[assembly.name] = std::move(need);
    }
    return absl::OkStatus();
  }

  absl::Status AssignNoOthers(const std::set<std::string>& assemblies) override {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<CachePin> pins, cache_.Pins());
    for (const CachePin& pin : pins) {
      absl::string_view assembly = pin.owner;
      if (!absl::ConsumeSuffix(&assembly, owner_suffix_)) continue;
      if (assemblies.contains(std::string(assembly))) continue;
      MUSTER_RETURN_IF_ERROR(cache_.SetPin({pin.owner, {}}, {}));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::set<AssemblyId>> NeededByOthers() override {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<CachePin> pins, cache_.Pins());
    std::set<AssemblyId> assemblies;
    for (const CachePin& pin : pins) {
      const std::optional<std::string> assembly = OfAnotherNode(pin);
      if (assembly.has_value()) assemblies.insert({*assembly, pin.uid});
    }
    return assemblies;
  }

  absl::Status LetGoForOthers(const AssemblyId& assembly) override {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<CachePin> pins, cache_.Pins());
    for (const CachePin& pin : pins) {
      if (pin.uid != assembly.uid || OfAnotherNode(pin) != assembly.name) continue;
      MUSTER_RETURN_IF_ERROR(cache_.EndPin(pin.owner, pin.uid, {}).status());
    }
    return absl::OkStatus();
  }

  std::string Inventory() override { return PackPieces(cache_.Inventory(kMaxInventoryDigests)); }

 private:
  using Pieces = std::vector<Md5Digest>;

  // What one assembly needs.
  struct Need {
    std::vector<WantedShard> shards;
    absl::flat_hash_set<std::string> keys;
    // Whether all of it was found to fit; not asked again before the need changes.
    bool fits = false;
  };

  // The assembly of a pin that an agent of another node made; none of other pins.
  std::optional<std::string> OfAnotherNode(const CachePin& pin) const {
    const size_t node = pin.owner.find(kNodePart);
    if (node == std::string::npos || absl::EndsWith(pin.owner, owner_suffix_)) return std::nullopt;
    std::string assembly = pin.owner.substr(0, node);
    if (!ParseAssemblyName(assembly).ok()) return std::nullopt;
    return assembly;
  }

  // OK when the shard is of an assembly that fits as a whole beside those that were found to fit
  // before, or of none.
  absl::Status Admit(const std::string& key) {
    MutexLock lock(needs_mutex_);
    std::vector<WantedShard> admitted;
    for (const auto& [assembly, need] : needs_) {
      if (!need.fits) continue;
      if (need.keys.contains(key)) return absl::OkStatus();
      // They may be still to come.
      admitted.insert(admitted.end(), need.shards.begin(), need.shards.end());
    }
    absl::Status refusal;
    for (auto& [assembly, need] : needs_) {
      if (!need.keys.contains(key)) continue;
      std::vector<WantedShard> wanted = admitted;
      wanted.insert(wanted.end(), need.shards.begin(), need.shards.end());
      refusal = cache_.CheckRoom(wanted);
      need.fits = refusal.ok();
      if (need.fits) return absl::OkStatus();
    }
    return refusal;
  }

  absl::StatusOr<PullShard> Describe(const v1::Shard& shard, const std::stop_token& stop) {
    PullShard described;
    described.shard = shard;
    if (shard.piece_count() == 0) return described;
    // The root binds the list, so equal roots and counts have equal lists.
    const std::string key =
        absl::StrCat(shard.root(), "/", shard.piece_count(), "/", shard.size_bytes());
    {
      MutexLock lock(mutex_);
      const auto known = pieces_.find(key);
      if (known != pieces_.end()) {
        described.pieces = known->second;
        return described;
      }
    }
    CallOptions call;
    call.timeout = absl::InfiniteDuration();
    call.stop = stop;
    MUSTER_ASSIGN_OR_RETURN(described.pieces, FetchPieces(client_, shard, call));
    Remember(key, described.pieces);
    return described;
  }

  // An agent that holds a great many shards asks the server again rather than remember all of their
  // lists.
  void Remember(const std::string& key, const Pieces& pieces) {
    MutexLock lock(mutex_);
    if (remembered_ + pieces.size() > kMaxRememberedPieces) {
      pieces_.clear();
      remembered_ = 0;
    }
    if (pieces_.emplace(key, pieces).second) remembered_ += pieces.size();
  }

  Client& client_;
  Puller& puller_;
  ShardCache& cache_;
  const std::string owner_suffix_;
  Mutex needs_mutex_;
  std::map<std::string, Need> needs_ MUSTER_GUARDED_BY(needs_mutex_);
  Mutex mutex_;
  absl::flat_hash_map<std::string, Pieces> pieces_ MUSTER_GUARDED_BY(mutex_);
  size_t remembered_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<ShardFetcher> NewCacheFetcher(Client& client, Puller& puller, ShardCache& cache,
                                              const std::string& node) {
  return std::make_unique<CacheFetcher>(client, puller, cache, node);
}

}  // namespace muster
