// The model versions: what the server knows of their shards and companions.
//
// Keeps each shard as its packed row; tensor tables, piece digests and companions are in the store
// only.
#ifndef MUSTER_SERVER_REGISTRY_CATALOGUE_H_
#define MUSTER_SERVER_REGISTRY_CATALOGUE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "muster/store/rows.pb.h"
#include "muster/v1/model.pb.h"
#include "server/placement/plan.h"
#include "server/registry/command.h"
#include "server/registry/content_keys.h"
#include "server/registry/draft.h"
#include "server/registry/location_health.h"
#include "server/registry/packed_bytes.h"
#include "server/registry/transaction.h"
#include "server/registry/uid.h"
#include "server/registry/zone_sets.h"

namespace muster {

// Of a digest of 16 bytes.
ContentId ContentIdOf(absl::string_view digest);

// One model version.
struct Version {
  // What placement knows of it, and its serialised ShardRow; an empty row: not there. The content
  // id is the shard's root where it has one, else its MD5.
  struct Shard : PlanShard {
    PackedBytes row;
  };

  muster::store::VersionRow row;
  VersionUid uid;
  // As many as were announced, once there is one; none before, as a draft may announce more than it
  // ever gets.
  std::vector<Shard> shards;
  uint32_t shards_added = 0;
  uint64_t size_bytes = 0;
  // What the shards take where they are placed: of an encoded one the greater of its two sizes.
  uint64_t placed_bytes = 0;
  // By path: a fingerprint of the content.
  std::map<std::string, Draft::Fingerprint> companions;
  // Null once committed.
  std::unique_ptr<Draft> draft;
  // Names of the assemblies that use it.
  std::set<std::string> assemblies;
  // What PlanShard::location_zones points into.
  ZoneSets location_zones;
  // The shards for the planner, shared by the plans that are being made; null: to be copied again,
  // which the next tick does.
  std::shared_ptr<const std::vector<PlanShard>> plan_shards;

  // First halves of content ids and the shards that have them, in that order, so that what a cache holds
  // is found by the cache's size. Of a version that an assembly uses or used; it never changes.
  std::vector<std::pair<uint64_t, uint32_t>> shards_by_content;

  std::shared_ptr<const std::vector<PlanShard>> PlanShards() const;
  // Fills `shards_by_content`, once.
  void IndexContent();
  // The shards whose bytes are in a cache, ascending; see Node::inventory.
  std::vector<uint32_t> CachedShards(const std::vector<uint64_t>& inventory) const;
};

// Not thread-safe: written by the committer, read under the shared lock.
//
// Commands check everything before they change anything, so that an error leaves no trace.
class Catalogue {
 public:
  // `uid_prefix` makes uids unique over all clusters.
  explicit Catalogue(std::string uid_prefix) : uid_prefix_(std::move(uid_prefix)) {}

  absl::Status Create(const muster::v1::CreateModelVersionRequest& request, Transaction& tx,
                      muster::v1::CreateModelVersionResponse& response);
  absl::Status Stage(const StagePieces& command, Transaction& tx);
  absl::Status Add(const AddShard& command, Transaction& tx);
  absl::Status Add(const muster::v1::AddTensorsRequest& request, Transaction& tx,
                   muster::v1::AddTensorsResponse& response);
  absl::Status Add(const AddCompanion& command, Transaction& tx);
  absl::Status Add(const AddLocation& command, Transaction& tx);
  absl::Status Remove(const RemoveLocation& command, Transaction& tx);
  absl::Status Set(const SetContentKey& command, Transaction& tx);
  absl::Status Rewrap(const RewrapContentKey& command, Transaction& tx);
  absl::Status Commit(const muster::v1::CommitModelVersionRequest& request, Transaction& tx,
                      muster::v1::CommitModelVersionResponse& response);
  absl::Status Delete(const muster::v1::DeleteModelVersionRequest& request, Transaction& tx);

  // Asks for the removal of drafts that nobody has added to for kDraftTtlUs, and copies shards for
  // the planner.
  void Tick(Transaction& tx);
  absl::Status Expire(const ExpireDraft& command, Transaction& tx);

  // NOT_FOUND VERSION_UNKNOWN, SHARD_UNKNOWN.
  absl::StatusOr<const Version*> Find(absl::string_view name) const;
  absl::Status CheckShardExists(const Version& version, uint32_t index) const;
  // Null when there is none.
  const Version* FindByUid(VersionUid uid) const;
  Version* FindByUid(VersionUid uid);
  const std::map<std::string, std::unique_ptr<Version>>& by_name() const { return by_name_; }

  // What nodes have found at the shards' locations.
  LocationHealth& health() { return health_; }
  const LocationHealth& health() const { return health_; }
  // Appends to `findings` what a counted report of `node` says of the shard's locations, where that
  // is news.
  void CollectFindings(const Version& version, NodeUid node, const muster::v1::ShardReport& report,
                       int64_t now_us, std::vector<NoteLocations::Finding>& findings) const;
  absl::Status Note(const NoteLocations& command, const std::string& node_name, Transaction& tx);

  // By which master keys the content keys are wrapped.
  const ContentKeyCounts& content_keys() const { return content_keys_; }

  // Its uid as clients know it.
  std::string UidText(const Version& version) const;
  muster::v1::ModelVersion Describe(const Version& version) const;
  // The shard must exist.
  muster::v1::Shard DescribeShard(const Version& version, uint32_t index) const;

  // While the store is loaded, in this order: versions, then shards, companions and tensors.
  absl::Status Load(muster::store::VersionRow row);
  absl::Status LoadShard(VersionUid uid, uint32_t index, const std::string& row);
  absl::Status LoadCompanion(VersionUid uid, const muster::store::CompanionRow& row);
  absl::Status LoadTensors(VersionUid uid, uint32_t shard, uint32_t start,
                           const muster::store::TensorsRow& row);
  // The drafts, whose tensors and companions have to be loaded.
  std::vector<VersionUid> Drafts() const;

 private:
  absl::StatusOr<Version*> FindMutable(absl::string_view name);
  absl::StatusOr<Version*> FindDraft(absl::string_view name);
  // RESOURCE_EXHAUSTED TOO_MANY_ITEMS: no room for another draft of so many shards.
  absl::Status CheckRoomForDraft(uint32_t shards) const;
  // Counts a draft that has come (`sign` 1) or is one no longer (-1).
  void CountDraft(const Version& version, int sign);
  void PutContentKey(const muster::store::WrappedKeyRow& key, Version& version, Transaction& tx);
  void Erase(Version& version, Transaction& tx);
  absl::Status CheckComplete(const Version& version) const;
  void ReplaceLocations(Version& version, uint32_t index, muster::store::ShardRow row,
                        Transaction& tx);
  static void SetShard(Version& version, uint32_t index, const muster::store::ShardRow& row,
                       absl::string_view packed);

  std::string uid_prefix_;
  std::map<std::string, std::unique_ptr<Version>> by_name_;
  absl::flat_hash_map<VersionUid, Version*> by_uid_;
  // The drafts, and the shards that they announced in all.
  uint64_t drafts_ = 0;
  uint64_t draft_shards_ = 0;
  LocationHealth health_;
  ContentKeyCounts content_keys_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_CATALOGUE_H_
