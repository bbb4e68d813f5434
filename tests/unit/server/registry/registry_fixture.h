// A registry whose rows are stored at once, and its requests in few words.
#ifndef MUSTER_TESTS_UNIT_SERVER_REGISTRY_REGISTRY_FIXTURE_H_
#define MUSTER_TESTS_UNIT_SERVER_REGISTRY_REGISTRY_FIXTURE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/registry/registry.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

inline constexpr char kVersion[] = "models/llama/versions/v1";
inline constexpr char kAssembly[] = "assemblies/demo";
inline constexpr int64_t kSecondUs = 1'000'000;

// Requests and commands; sizes of shards are 1,000 bytes and digests are made from the index.
muster::v1::CreateModelVersionRequest CreateVersion(absl::string_view name, uint32_t shards,
                                                    uint64_t tensors = 0, uint32_t companions = 0);
AddShard ShardOf(absl::string_view version, uint32_t index, uint32_t tensors = 0);
muster::v1::AddTensorsRequest TensorsOf(absl::string_view version, uint32_t shard, uint32_t start,
                                        const std::vector<std::string>& names);
AddCompanion CompanionOf(absl::string_view version, absl::string_view path, uint64_t size = 10);
AddLocation LocationOf(absl::string_view version, uint32_t shard, absl::string_view uri);
RemoveLocation Without(absl::string_view version, uint32_t shard, absl::string_view uri);
muster::v1::CommitModelVersionRequest CommitVersion(absl::string_view name);
muster::v1::DeleteModelVersionRequest DeleteVersion(absl::string_view name);
muster::v1::RegisterNodeRequest RegisterNode(absl::string_view node);
muster::v1::DeregisterNodeRequest DeregisterNode(absl::string_view node);
muster::v1::DrainNodeRequest DrainNode(absl::string_view node, int64_t deadline_s = 60);
muster::v1::CreateAssemblyRequest CreateAssembly(absl::string_view name, absl::string_view version,
                                                 muster::v1::Assembly::Policy policy,
                                                 uint32_t min_nodes = 1);
muster::v1::DeleteAssemblyRequest DeleteAssembly(absl::string_view name);
muster::v1::JoinAssemblyRequest Join(absl::string_view assembly, absl::string_view node,
                                     uint64_t epoch, const std::vector<uint32_t>& shards = {});
muster::v1::LeaveAssemblyRequest Leave(absl::string_view assembly, absl::string_view node);
// READY reports of `shards`.
muster::v1::ReportShardsRequest Report(absl::string_view assembly, absl::string_view node,
                                       uint64_t epoch, uint64_t generation,
                                       const std::vector<uint32_t>& shards);

// One FAILED report, the `attempts`-th in a row.
muster::v1::ReportShardsRequest FailedReport(absl::string_view assembly, absl::string_view node,
                                             uint64_t epoch, uint64_t generation, uint32_t shard,
                                             uint32_t attempts);
// All rows of a store but those of the event log, in key order.
std::vector<MetadataStore::Row> RowsOf(MetadataStore& store);
// All that the registry shows, as text; without the revision that an assembly was last shown at,
// which no row keeps.
std::string Describe(const Registry& registry);

// Carries commands out as the committer does, one batch each, and follows up on them.
class RegistryFixture {
 public:
  // One node's part of a plan.
  struct Part {
    std::string node;
    std::vector<uint32_t> shards;
    // By shard: the node whose replica the one here will replace.
    std::map<uint32_t, std::string> replaces = {};
    std::optional<PlanShortage> shortage = {};
  };

  RegistryFixture();

  Registry& registry() { return *registry_; }
  MetadataStore& store() { return *store_; }
  Revision revision() const { return registry_->revision(); }
  // Events so far, and the assemblies for which a plan was asked.
  const std::vector<Change>& changes() const { return changes_; }
  std::vector<AssemblyUid>& plans_wanted() { return plans_wanted_; }

  Applied Apply(const Command& command);
  absl::Status Do(const Command& command) { return Apply(command).status; }
  // Do, and the reply as a Reply; fails the test when there is none.
  template <typename Reply>
  Reply Ask(const Command& command) {
    const Applied applied = Apply(command);
    return applied.reply == nullptr ? Reply() : *static_cast<Reply*>(applied.reply.get());
  }

  // Moves both clocks to the time, and sets what the device has left.
  void TickTo(int64_t time_us, std::optional<int64_t> free_bytes = std::nullopt);

  // A committed version of `shards` shards.
  void Publish(absl::string_view version, uint32_t shards);
  // Registers a node and returns its epoch.
  uint64_t Register(absl::string_view node);
  // Declares the node lost, or takes it back.
  void SetLost(absl::string_view node, bool lost);
  // Gives shards away, as a plan of the present state; returns its generation.
  uint64_t Plan(absl::string_view assembly, const std::vector<Part>& parts,
                std::vector<muster::v1::AssemblyReason> reasons = {});
  PlannedAssembly PlanOf(absl::string_view assembly, const std::vector<Part>& parts);

  muster::v1::Assembly Shown(absl::string_view assembly) const;
  const Node& NodeOf(absl::string_view node) const;
  const Assembly::Member& MemberOf(absl::string_view assembly, absl::string_view node) const;
  muster::v1::AssemblyMember Member(absl::string_view assembly, absl::string_view node) const;

  // Drops the registry and loads another one from the rows.
  absl::Status Restart();

 private:
  static Registry::Options MakeOptions();

  std::unique_ptr<MetadataStore> store_;
  std::unique_ptr<LiveTables> live_;
  std::unique_ptr<Registry> registry_;
  std::vector<Change> changes_;
  std::vector<AssemblyUid> plans_wanted_;
  int64_t time_us_ = 0;
  // Of the leases.
  int64_t monotonic_us_ = 0;
};

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_SERVER_REGISTRY_REGISTRY_FIXTURE_H_
