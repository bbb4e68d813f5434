#include "tests/unit/server/registry/registry_fixture.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/registry/row_keys.h"
#include "storage/base/md5.h"
#include "storage/metadata/memory_metadata_store.h"
#include "tests/support/status_matchers.h"

namespace muster {

namespace v1 = muster::v1;

v1::CreateModelVersionRequest CreateVersion(absl::string_view name, uint32_t shards,
                                            uint64_t tensors, uint32_t companions) {
  v1::CreateModelVersionRequest request;
  request.mutable_model_version()->set_name(std::string(name));
  request.mutable_model_version()->set_shard_count(shards);
  request.mutable_model_version()->set_tensor_count(tensors);
  request.mutable_model_version()->set_companion_count(companions);
  return request;
}

AddShard ShardOf(absl::string_view version, uint32_t index, uint32_t tensors) {
  AddShard command;
  command.version = std::string(version);
  command.shard.set_index(index);
  command.shard.set_size_bytes(1'000);
  command.shard.set_md5(Md5ToHex(Md5Of(absl::StrCat(version, index))));
  command.shard.set_tensor_count(tensors);
  command.shard.add_locations()->set_uri(absl::StrCat("file:///", index));
  return command;
}

v1::AddTensorsRequest TensorsOf(absl::string_view version, uint32_t shard, uint32_t start,
                                const std::vector<std::string>& names) {
  v1::AddTensorsRequest request;
  request.set_name(absl::StrCat(version, "/shards/", shard));
  request.set_start(start);
  for (const std::string& name : names) {
    v1::Tensor* tensor = request.add_tensors();
    tensor->set_name(name);
    tensor->set_dtype("F32");
    tensor->set_begin_bytes((start + request.tensors_size() - 1) * 10);
    tensor->set_end_bytes(tensor->begin_bytes() + 10);
  }
  return request;
}

AddCompanion CompanionOf(absl::string_view version, absl::string_view path, uint64_t size) {
  AddCompanion command;
  command.version = std::string(version);
  command.companion.set_path(std::string(path));
  command.companion.set_size_bytes(size);
  command.companion.set_md5(Md5ToHex(Md5Of(path)));
  command.companion.add_locations()->set_uri(absl::StrCat("file:///", path));
  return command;
}

AddLocation LocationOf(absl::string_view version, uint32_t shard, absl::string_view uri) {
  AddLocation command;
  command.version = std::string(version);
  command.entry.set_shard(shard);
  command.entry.mutable_location()->set_uri(std::string(uri));
  return command;
}

RemoveLocation Without(absl::string_view version, uint32_t shard, absl::string_view uri) {
  RemoveLocation command;
  command.version = std::string(version);
  command.entry.set_shard(shard);
  command.entry.set_uri(std::string(uri));
  return command;
}

v1::CommitModelVersionRequest CommitVersion(absl::string_view name) {
  v1::CommitModelVersionRequest request;
  request.set_name(std::string(name));
  return request;
}

v1::DeleteModelVersionRequest DeleteVersion(absl::string_view name) {
  v1::DeleteModelVersionRequest request;
  request.set_name(std::string(name));
  return request;
}

v1::RegisterNodeRequest RegisterNode(absl::string_view node) {
  v1::RegisterNodeRequest request;
  request.mutable_node()->set_name(std::string(node));
  return request;
}

v1::DeregisterNodeRequest DeregisterNode(absl::string_view node) {
  v1::DeregisterNodeRequest request;
  request.set_name(std::string(node));
  return request;
}

v1::DrainNodeRequest DrainNode(absl::string_view node, int64_t deadline_s) {
  v1::DrainNodeRequest request;
  request.set_name(std::string(node));
  request.mutable_deadline()->set_seconds(deadline_s);
  return request;
}

v1::CreateAssemblyRequest CreateAssembly(absl::string_view name, absl::string_view version,
                                         v1::Assembly::Policy policy, uint32_t min_nodes) {
  v1::CreateAssemblyRequest request;
  request.mutable_assembly()->set_name(std::string(name));
  request.mutable_assembly()->set_model_version(std::string(version));
  request.mutable_assembly()->set_policy(policy);
  request.mutable_assembly()->set_min_nodes(min_nodes);
  return request;
}

v1::DeleteAssemblyRequest DeleteAssembly(absl::string_view name) {
  v1::DeleteAssemblyRequest request;
  request.set_name(std::string(name));
  return request;
}

v1::JoinAssemblyRequest Join(absl::string_view assembly, absl::string_view node, uint64_t epoch,
                             const std::vector<uint32_t>& shards) {
  v1::JoinAssemblyRequest request;
  request.set_name(std::string(assembly));
  request.set_node(std::string(node));
  request.set_epoch(epoch);
  request.mutable_claim()->set_kind(shards.empty() ? v1::Claim::ANY : v1::Claim::SHARDS);
  for (const uint32_t shard : shards) request.mutable_claim()->add_shards(shard);
  return request;
}

v1::LeaveAssemblyRequest Leave(absl::string_view assembly, absl::string_view node) {
  v1::LeaveAssemblyRequest request;
  request.set_name(std::string(assembly));
  request.set_node(std::string(node));
  return request;
}

v1::ReportShardsRequest Report(absl::string_view assembly, absl::string_view node, uint64_t epoch,
                               uint64_t generation, const std::vector<uint32_t>& shards) {
  v1::ReportShardsRequest request;
  request.set_assembly(std::string(assembly));
  request.set_node(std::string(node));
  request.set_epoch(epoch);
  for (const uint32_t shard : shards) {
    v1::ShardReport* report = request.add_reports();
    report->set_shard(shard);
    report->set_generation(generation);
    report->set_state(v1::ShardReport::READY);
  }
  return request;
}

v1::ReportShardsRequest FailedReport(absl::string_view assembly, absl::string_view node,
                                     uint64_t epoch, uint64_t generation, uint32_t shard,
                                     uint32_t attempts) {
  v1::ReportShardsRequest request = Report(assembly, node, epoch, generation, {shard});
  v1::ShardReport& report = *request.mutable_reports(0);
  report.set_state(v1::ShardReport::FAILED);
  report.mutable_failure()->set_code(v1::ShardFailure::CORRUPT);
  report.mutable_failure()->set_message("bad bytes");
  report.mutable_failure()->set_attempts(attempts);
  return request;
}

std::vector<MetadataStore::Row> RowsOf(MetadataStore& store) {
  auto rows = store.Scan("", std::string(64, '\xff'), 1'000'000);
  MUSTER_EXPECT_OK(rows);
  if (!rows.ok()) return {};
  std::erase_if(*rows, [](const MetadataStore::Row& row) {
    return row.key == EventLogKey() || row.key[0] == 'e' || row.key[0] == 'k';
  });
  return *std::move(rows);
}

std::string Describe(const Registry& registry) {
  std::string out = absl::StrCat("revision ", registry.revision().value, "\n");
  for (const auto& [name, version] : registry.catalogue().by_name()) {
    absl::StrAppend(&out, registry.catalogue().Describe(*version).ShortDebugString(), "\n");
    for (uint32_t index = 0; index < version->shards.size(); ++index) {
      if (version->shards[index].row.empty()) continue;
      absl::StrAppend(&out, registry.catalogue().DescribeShard(*version, index).ShortDebugString(),
                      "\n");
    }
  }
  for (const auto& [name, node] : registry.nodes().by_name()) {
    absl::StrAppend(&out, registry.nodes().Describe(*node).ShortDebugString(), "\n");
  }
  for (const auto& [name, assembly] : registry.assemblies().by_name()) {
    v1::Assembly shown = registry.assemblies().Describe(*assembly);
    shown.clear_revision();
    absl::StrAppend(&out, shown.ShortDebugString(), "\n");
    for (const auto& [node, member] : assembly->members()) {
      absl::StrAppend(&out, assembly->DescribeMember(node, member).ShortDebugString(), " ",
                      assembly->ReadinessRowOf(member).ShortDebugString(), " ",
                      assembly->AssignmentRowOf(member).ShortDebugString(), "\n");
    }
  }
  return out;
}

Registry::Options RegistryFixture::MakeOptions() {
  Registry::Options options;
  options.cluster_id = "0123456789abcdef";
  return options;
}

RegistryFixture::RegistryFixture()
    : store_(NewMemoryMetadataStore({100, 1u << 20, 256u << 10})),
      live_(std::make_unique<LiveTables>(LiveTables::Options{})),
      registry_(std::make_unique<Registry>(MakeOptions(), *live_)) {
  TickTo(kSecondUs);
}

Applied RegistryFixture::Apply(const Command& command) {
  Applied applied = registry_->Apply(command);
  if (!applied.status.ok()) {
    EXPECT_FALSE(applied.changed);
    EXPECT_TRUE(applied.operations.empty());
    return applied;
  }
  MetadataBatch batch;
  batch.operations = applied.operations;
  batch.operations.push_back(registry_->RevisionRow(applied.revision));
  EXPECT_LE(batch.operations.size(), 50u) << "more rows than one command may have";
  MUSTER_EXPECT_OK(store_->Commit(batch));
  for (const Change& change : applied.changes) {
    changes_.push_back(change);
    live_->Apply(change);
  }
  for (const AssemblyUid uid : applied.plans_wanted) plans_wanted_.push_back(uid);
  for (const Command& next : applied.follow_ups) MUSTER_EXPECT_OK(Apply(next).status);
  return applied;
}

void RegistryFixture::TickTo(int64_t time_us, std::optional<int64_t> free_bytes) {
  time_us_ = time_us;
  MUSTER_EXPECT_OK(Do(Tick{time_us, time_us, free_bytes}));
}

void RegistryFixture::Publish(absl::string_view version, uint32_t shards) {
  MUSTER_EXPECT_OK(Do(CreateVersion(version, shards)));
  for (uint32_t index = 0; index < shards; ++index) MUSTER_EXPECT_OK(Do(ShardOf(version, index)));
  MUSTER_EXPECT_OK(Do(CommitVersion(version)));
}

uint64_t RegistryFixture::Register(absl::string_view node) {
  return Ask<v1::RegisterNodeResponse>(RegisterNode(node)).epoch();
}

void RegistryFixture::SetLost(absl::string_view name, bool lost) {
  const auto node = std::as_const(registry_->nodes()).Find(name);
  ASSERT_THAT(node, IsOk());
  if (!lost) {
    MUSTER_EXPECT_OK(Do(ReviveNode{(*node)->uid, (*node)->epoch()}));
    return;
  }
  // Ticks that are one second apart at most are not a stall, so that the lease runs out by them.
  for (int i = 0; i < 12; ++i) {
    monotonic_us_ += kSecondUs;
    live_->leases.Tick(absl::Microseconds(monotonic_us_));
  }
  MUSTER_EXPECT_OK(Do(ExpireLease{(*node)->uid, (*node)->epoch()}));
}

PlannedAssembly RegistryFixture::PlanOf(absl::string_view name, const std::vector<Part>& parts) {
  PlannedAssembly plan;
  const auto assembly = registry_->assemblies().Find(name);
  EXPECT_THAT(assembly, IsOk());
  if (!assembly.ok()) return plan;
  plan.assembly = (*assembly)->uid();
  plan.inputs_version = (*assembly)->inputs_version();
  plan.base = (*assembly)->plan_base();
  for (const Part& part : parts) {
    const Assembly::Member* member = (*assembly)->FindMember(part.node);
    if (member == nullptr) continue;
    PlannedAssembly::Member& planned = plan.members.emplace_back();
    planned.node = member->node;
    planned.shortage = part.shortage;
    for (const uint32_t shard : part.shards) {
      Assignment assignment{shard, Generation(0)};
      for (const Assignment& present : member->assignments) {
        if (present.shard == shard) assignment = present;
      }
      planned.assignments.push_back(assignment);
    }
    for (const auto& [shard, node] : part.replaces) planned.replaces[shard] = NodeOf(node).uid;
  }
  return plan;
}

uint64_t RegistryFixture::Plan(absl::string_view assembly, const std::vector<Part>& parts,
                               std::vector<v1::AssemblyReason> reasons) {
  auto plan = std::make_shared<PlannedAssembly>(PlanOf(assembly, parts));
  plan->reasons = std::move(reasons);
  MUSTER_EXPECT_OK(Do(ApplyPlan{plan, 0, plan->members.size()}));
  return Shown(assembly).generation();
}

v1::Assembly RegistryFixture::Shown(absl::string_view name) const {
  const auto assembly = registry_->assemblies().Find(name);
  EXPECT_THAT(assembly, IsOk());
  return assembly.ok() ? registry_->assemblies().Describe(**assembly) : v1::Assembly();
}

const Node& RegistryFixture::NodeOf(absl::string_view name) const {
  const auto node = std::as_const(registry_->nodes()).Find(name);
  EXPECT_THAT(node, IsOk());
  return **node;
}

const Assembly::Member& RegistryFixture::MemberOf(absl::string_view name,
                                                  absl::string_view node) const {
  const auto assembly = registry_->assemblies().Find(name);
  EXPECT_THAT(assembly, IsOk());
  const Assembly::Member* member = (*assembly)->FindMember(std::string(node));
  EXPECT_NE(member, nullptr) << node << " is not a member";
  return *member;
}

v1::AssemblyMember RegistryFixture::Member(absl::string_view name, absl::string_view node) const {
  const Assembly::Member& member = MemberOf(name, node);
  return (*registry_->assemblies().Find(name))->DescribeMember(std::string(node), member);
}

absl::Status RegistryFixture::Restart() {
  auto live = std::make_unique<LiveTables>(LiveTables::Options{});
  registry_ = std::make_unique<Registry>(MakeOptions(), *live);
  live_ = std::move(live);
  monotonic_us_ = 0;
  absl::StatusOr<Applied> loaded = registry_->Load(*store_);
  if (!loaded.ok()) return loaded.status();
  for (const AssemblyUid uid : loaded->plans_wanted) plans_wanted_.push_back(uid);
  for (const Command& next : loaded->follow_ups) MUSTER_EXPECT_OK(Apply(next).status);
  // The clocks go on.
  TickTo(time_us_);
  return absl::OkStatus();
}

}  // namespace muster
