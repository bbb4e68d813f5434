// How an agent gets a shard's bytes onto its node.
#ifndef MUSTER_CLIENT_AGENT_SHARD_FETCHER_H_
#define MUSTER_CLIENT_AGENT_SHARD_FETCHER_H_

#include <compare>
#include <cstdint>
#include <functional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/transfer/read_gate.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/model.pb.h"

namespace muster {

// Thread-safe; calls block. The agent calls it for several shards at once, but never twice at once
// for equal content.
class ShardFetcher {
 public:
  struct Outcome {
    // OK: every byte was verified and the shard is in the cache under its final name.
    absl::Status status;
    // What to report where the status is not OK.
    v1::ShardFailure failure;
    // What the locations that were read from were like.
    std::vector<v1::LocationReport> locations = {};
    // Bytes read from locations, wrong ones included.
    int64_t fetched_bytes = 0;
  };
  // Bytes fetched and verified so far; called from any thread.
  using OnProgress = std::function<void(uint64_t done_bytes)>;

  virtual ~ShardFetcher() = default;

  // Whether the cache holds the shard, verified; fetches nothing. May read the whole entry, where
  // it is to be hashed again.
  virtual bool Holds(const v1::Shard& shard, const std::stop_token& stop) = 0;

  // Fetches the shard into the cache. Asks `gate` before it reads from a bounded location.
  // kCancelled once `stop` was requested, with no half-done file left visible.
  virtual Outcome Fetch(const v1::Shard& shard, ReadGate& gate, const std::stop_token& stop,
                        const OnProgress& on_progress) = 0;

  // An assembly, as distinct from others that have or had its name.
  struct AssemblyId {
    // "assemblies/{assembly}".
    std::string name;
    // As its server calls it; "" where that is not known.
    std::string uid;

    auto operator<=>(const AssemblyId&) const = default;
  };

  // What the assembly needs on this node from now on, whether it is there or not: none of it is
  // evicted until another call, by this process or a later one, says otherwise. No shards: the
  // assembly needs nothing. Fetch refuses (kResourceExhausted) before it fetches the first byte of an
  // assembly whose shards don't fit beside those of the assemblies that it has begun with.
  virtual absl::Status Assign(const AssemblyId& assembly, const std::vector<v1::Shard>& shards) = 0;
  // The assemblies that need something on this node; what an earlier process said of others no
  // longer counts.
  virtual absl::Status AssignNoOthers(const std::set<std::string>& assemblies) = 0;

  // The assemblies, with their uids, for which other nodes have said what they need of the same cache.
  virtual absl::StatusOr<std::set<AssemblyId>> NeededByOthers() = 0;
  // The assembly is gone: what other nodes said that it needs no longer counts.
  virtual absl::Status LetGoForOthers(const AssemblyId& assembly) = 0;

  // What the cache holds, verified, as RegisterNodeRequest.cached_digests wants it. Hashes nothing.
  virtual std::string Inventory() = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_SHARD_FETCHER_H_
