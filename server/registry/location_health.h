// Which locations of shards are suspect: what nodes have found there.
#ifndef MUSTER_SERVER_REGISTRY_LOCATION_HEALTH_H_
#define MUSTER_SERVER_REGISTRY_LOCATION_HEALTH_H_

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "muster/store/rows.pb.h"
#include "muster/v1/assembly.pb.h"
#include "server/registry/transaction.h"
#include "server/registry/uid.h"

namespace muster {

// Complaints of this many distinct nodes within kComplaintTtlUs make a location suspect: one node
// may have a fault of its own.
inline constexpr size_t kComplaintsToSuspect = 2;
inline constexpr int64_t kComplaintTtlUs = 600'000'000;

// Not thread-safe: written by the committer, read under the shared lock.
//
// Knows only the locations that somebody has complained of. One verified read clears a location:
// its row and its complaints go.
class LocationHealth {
 public:
  // Takes note of what a node found at locations of one version's shards; with `version_name` and
  // `node_name` for the events. One row per finding at most, so the caller bounds them.
  void Note(const NoteLocations& command, const std::string& version_name,
            const std::string& node_name, Transaction& tx);

  // Makes Note follow the command at hand, in as many transactions as that takes.
  static void ThenNote(VersionUid version, NodeUid node,
                       const std::vector<NoteLocations::Finding>& findings, Transaction& tx);

  // Whether `found` would change anything of what is known.
  bool IsNews(VersionUid version, uint32_t shard, const std::string& uri, NodeUid node,
              muster::v1::ShardFailure::Code found, int64_t now_us) const;

  bool IsSuspect(VersionUid version, uint32_t shard, const std::string& uri) const;
  // Of one version, in order; at most `limit`.
  std::vector<uint32_t> SuspectShards(VersionUid version, size_t limit) const;

  // The location is no longer one of the shard's.
  void Forget(VersionUid version, uint32_t shard, const std::string& uri, Transaction& tx);
  // The version goes, with its rows.
  void Forget(VersionUid version, Transaction& tx);

  void Load(VersionUid version, uint32_t shard, muster::store::LocationHealthRow row);

 private:
  struct Key {
    VersionUid version;
    uint32_t shard = 0;
    std::string uri;

    auto operator<=>(const Key&) const = default;
  };

  std::map<Key, muster::store::LocationHealthRow> rows_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_LOCATION_HEALTH_H_
